/** Another schema with the fingerprint of a given one, for tests. Pure. */
import { fingerprintHex } from '@bailiff/schemas';

const LETTERS = 96;

/**
 * Gives `evidence` of a verdict another name, and a record without bytes its name. The fingerprint is linear in the bits in
 * which letters differ, so the letters that restore it are the solution of 64 equations.
 */
export function collidingVerdict(text: string): string {
  const wanted = BigInt(`0x${fingerprintHex(JSON.parse(text))}`);
  const withLetters = (mask: bigint) => {
    const letters = Array.from({ length: LETTERS }, (_, at) => ((mask >> BigInt(at)) & 1n ? 'c' : 'a')).join('');
    const schema = JSON.parse(text.replace('"name":"evidence"', `"name":"${letters}"`));
    schema.fields.push({ name: 'evidence', type: { type: 'record', name: 'Nothing', fields: [] } });
    return JSON.stringify(schema);
  };
  const fingerprintWith = (mask: bigint) => BigInt(`0x${fingerprintHex(JSON.parse(withLetters(mask)))}`);
  const base = fingerprintWith(0n);
  const rows = new Map<number, [value: bigint, mask: bigint]>();
  const reduced = (value: bigint, mask: bigint): [bigint, bigint] => {
    let [left, used] = [value, mask];
    for (let row = rows.get(left.toString(2).length); left > 0n && row; row = rows.get(left.toString(2).length)) {
      left ^= row[0];
      used ^= row[1];
    }
    return [left, used];
  };
  for (let at = 0n; at < LETTERS; at++) {
    const [value, mask] = reduced(fingerprintWith(1n << at) ^ base, 1n << at);
    if (value > 0n) rows.set(value.toString(2).length, [value, mask]);
  }
  return withLetters(reduced(wanted ^ base, 0n)[1]);
}
