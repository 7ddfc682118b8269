import { expect, it } from 'vitest';
import { withoutCapabilityArgs } from './cni-record-size.ts';

const BIG = 'x'.repeat(70_000);
const cut = (json: string) => withoutCapabilityArgs(Buffer.from(json)).toString();

it.each([
  ['an object', `{"kind":"k","capabilityArgs":{"a":"${BIG}","b":[{"c":1}]},"result":{"d":2}}`, '"result":{"d":2}}'],
  ['the last field', `{"kind":"k","capabilityArgs":{"a":"${BIG}"}}`, '}'],
  ['a list', `{"kind":"k","capabilityArgs":["${BIG}"],"e":1}`, '"e":1}'],
  ['a string', `{"kind":"k","capabilityArgs":"${BIG}","e":1}`, '"e":1}'],
  ['blanks', `{ "kind" : "k" , "capabilityArgs" : {"a":"${BIG}"} , "e" : 1 }`, '"e" : 1 }'],
  ['quotes and brackets in strings', `{"kind":"k","capabilityArgs":{"a":"\\"}]\\\\","b":"${BIG}"},"e":1}`, '"e":1}'],
])('cut - %s', (_name, json, end) => {
  const { capabilityArgs: _, ...others } = JSON.parse(json) as Record<string, unknown>;
  expect(JSON.parse(cut(json))).toEqual({ ...others, capabilityArgs: null });
  expect([cut(json).length < 100, cut(json).endsWith(end)]).toEqual([true, true]);
});

it.each([
  ['small', '{"capabilityArgs":{"a":1}}'],
  ['as a value', `{"containerId":"capabilityArgs","config":"${BIG}"}`],
  ['of an inner object', `{"result":{"capabilityArgs":{"a":"${BIG}"}}}`],
  ['in a string', `{"config":"${BIG}\\"capabilityArgs\\":{},"}`],
  ['half written', `{"kind":"k","capabilityArgs":{"a":"${BIG}`],
])('unchanged - %s', (_name, json) => {
  expect(cut(json)).toBe(json);
});
