// Reads an AsyncAPI document from standard input; prints what the parser finds wrong with it, and ends with 1 if it does.
import { readFileSync } from 'node:fs';
import { Parser } from '@asyncapi/parser';

const ERROR = 0;
const { diagnostics, document } = await new Parser().parse(readFileSync(0, 'utf8'));
const errors = diagnostics.filter((one) => one.severity === ERROR);
for (const one of errors) console.log(`${one.path.join('.')}: ${one.message}`);
if (errors.length > 0 || !document) process.exit(1);
console.log(`valid, ${document.allMessages().length} messages`);
