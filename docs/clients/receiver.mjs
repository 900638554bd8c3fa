// Receive Basestock's webhooks: verify each call, take what it says once, answer fast.
//
//     npm install standardwebhooks
//     SECRET=whsec_... PORT=8080 node receiver.mjs
//
// What is known is kept in memory here: keep it in your database, in the transaction that does what a call says.
import { createServer } from 'node:http';
import { Webhook } from 'standardwebhooks';

const webhook = new Webhook(process.env.SECRET);
const BODY_LIMIT = 1024 * 1024;

const versions = new Map(); // the newest version of each base stock product
const dates = new Map(); // the newest date of each inventory record
const deltas = new Set(); // the ids of the calls that brought changes to add up
const events = new Map(); // the logical timestamp of each supplier's newest fulfillment event

// Do what a call says, where that is not known already; returns what is new, in words.
function take(webhookId, told) {
  if (told.test || told.type === 'ping') return ['a sample'];
  if (told.stock) return told.stock.filter(isNewer).map(takeLevel);
  if (told.event_type) return takeVariant(webhookId, told.event_type, told.payload);
  return takeEvent(told);
}

// Whether nothing newer is known of the base stock product, which is always linked first.
const isNewer = (item) => item.version > (versions.get(item.linked[0].product.id) ?? 0);

// A stock level: what is now, whatever was before.
function takeLevel(item) {
  const { id, sku } = item.linked[0].product;
  versions.set(id, item.version);
  return `${sku} ${item.quantity_available} version ${item.version}`;
}

// The stock of a variant at a location: what is now, or, as a delta, by how much it changed.
function takeVariant(webhookId, eventType, payload) {
  const id = payload.inventory_id;
  if (eventType === 'variant_stock_delta.updated') {
    if (deltas.has(webhookId)) return [];
    deltas.add(webhookId);
    return [`${id} ${payload.delta < 0 ? '' : '+'}${payload.delta}`];
  }
  if (eventType === 'variant_stock.deleted') return [`${id} is not stocked`];
  if (payload.inventory_date < (dates.get(id) ?? '')) return [];
  dates.set(id, payload.inventory_date);
  return [`${id} ${payload.quantity}`];
}

// What happened to an item of a fulfillment request: the next event, or one that is known.
function takeEvent(told) {
  if (told.logical_timestamp <= (events.get(told.supplier_id) ?? 0)) return [];
  events.set(told.supplier_id, told.logical_timestamp);
  return [`${told.logical_timestamp} ${told.type} ${told.request_ref}`];
}

// The body exactly as it came: parsed and written again it would not verify.
async function bodyOf(request) {
  const chunks = [];
  let length = 0;
  for await (const chunk of request) {
    length += chunk.length;
    if (length > BODY_LIMIT) throw new Error('too long for a call of Basestock');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

// Answer 401 to what Basestock did not send, and 204 when the rest is taken.
createServer(async (request, response) => {
  let told;
  try {
    told = webhook.verify(await bodyOf(request), request.headers);
  } catch {
    response.writeHead(401, { Connection: 'close' }).end();
    return;
  }
  for (const news of take(request.headers['webhook-id'], told)) console.log(news);
  response.writeHead(204).end();
}).listen(Number(process.env.PORT), '127.0.0.1');
