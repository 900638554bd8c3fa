// Send orders to Basestock over RabbitMQ: one JSON order a line on standard input.
//
//     npm install amqplib
//     BROKER_URL=amqp://user:password@broker:5672/ node order_system.mjs [plain|event|batch] < orders.ndjson
//
// Ends with 0 once RabbitMQ has confirmed every message. After any other end run it again: what has arrived counts once.
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import amqp from 'amqplib';

const BROKER_URL = process.env.BROKER_URL;
const USER = decodeURIComponent(new URL(BROKER_URL).username || 'guest'); // RabbitMQ takes no other name for userId
const ATTEMPTS = 5;
const CONFIRM_MS = 10_000;

// The id is the same whenever this order is sent.
const event = (order) => ({
  specversion: '1.0',
  id: `order ${order.external_ref}`,
  source: `/order-systems/${USER}`,
  type: 'basestock.orders.order_submitted.v1',
  data: order,
});

// A message for each order, or in the form `batch` one for every hundred.
function messages(form, orders) {
  if (form === 'plain') {
    return orders.map((body) => ({ body, contentType: 'application/json', messageId: `order ${body.external_ref}` }));
  }
  const events = orders.map(event);
  if (form === 'event') return events.map((body) => ({ body, contentType: 'application/cloudevents+json' }));
  const batches = [];
  for (let start = 0; start < events.length; start += 100) batches.push(events.slice(start, start + 100));
  return batches.map((body) => ({ body, contentType: 'application/cloudevents-batch+json' }));
}

// Publish one message; settles when RabbitMQ has answered, the channel is gone, or it takes too long.
function confirmed(channel, { body, ...properties }) {
  let late, gone, back;
  let returned = false; // no queue takes it: RabbitMQ returns it, then confirms
  return new Promise((resolve, reject) => {
    late = setTimeout(() => reject(new Error('no confirm in time')), CONFIRM_MS);
    channel.once('close', (gone = () => reject(new Error('the channel was closed'))));
    channel.once('return', (back = () => (returned = true)));
    const options = { ...properties, userId: USER, persistent: true, mandatory: true };
    const content = Buffer.from(JSON.stringify(body));
    channel.publish('basestock.intake', 'orders.submitted', content, options, (error) => {
      if (error || returned) reject(error ?? new Error('no queue takes it'));
      else resolve();
    });
  }).finally(() => {
    clearTimeout(late);
    channel.off('close', gone).off('return', back);
  });
}

// Publish one by one, taking off the list what is confirmed.
async function publish(waiting) {
  const connection = await amqp.connect(BROKER_URL);
  connection.on('error', () => {}); // the channel is closed with it, which is noticed
  try {
    const channel = await connection.createConfirmChannel();
    channel.on('error', () => {});
    while (waiting.length > 0) {
      await confirmed(channel, waiting[0]);
      waiting.shift();
    }
  } finally {
    await connection.close().catch(() => {});
  }
}

const orders = readFileSync(0, 'utf8').split('\n').filter((line) => line.trim()).map((line) => JSON.parse(line));
const waiting = messages(process.argv[2] ?? 'plain', orders);
for (let attempt = 1; waiting.length > 0; attempt += 1) {
  try {
    await publish(waiting);
  } catch (error) {
    if (attempt === ATTEMPTS) {
      console.error(`${waiting.length} messages are not confirmed: ${error.message}`);
      process.exit(1);
    }
    await sleep(1000 * 2 ** attempt);
  }
}
