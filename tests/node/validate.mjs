// Reads AsyncAPI documents from standard input, one a line; answers each with a line, what the parser finds wrong with it:
// {"errors": ["path: message", ...], "messages": how many it found, null when it could not read the document}.
import { createInterface } from 'node:readline';
import { Parser } from '@asyncapi/parser';

const ERROR = 0;
for await (const line of createInterface({ input: process.stdin })) {
  const { diagnostics, document } = await new Parser().parse(line);
  const errors = diagnostics.filter((one) => one.severity === ERROR).map((one) => `${one.path.join('.')}: ${one.message}`);
  console.log(JSON.stringify({ errors, messages: document ? document.allMessages().length : null }));
}
