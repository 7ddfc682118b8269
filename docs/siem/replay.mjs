// Prints stored verdicts, decoded: node replay.mjs 2026-11-30T12:00:00Z, or node replay.mjs 17 from a sequence.
import { connect } from '@bailiff/connector';

const [start = '1'] = process.argv.slice(2);
const from = /^\d+$/.test(start) ? { sequence: Number(start) } : { time: new Date(start) };
const bailiff = await connect({ user: 'reader' });

for await (const { sequence, value, problem } of bailiff.replay('VERDICTS', { from })) {
  console.log(sequence, value ? `${value.level} ${value.rule} ${value.pod?.name ?? value.nodeName}` : problem);
}
await bailiff.close();
