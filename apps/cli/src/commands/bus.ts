/** `bailiff bus setup`: makes the streams, buckets, consumers and schemas of a bus, or brings them up to date. Run by its admin. */
import { ensureTopology, LONGEST_TIMESPAN_MS, streamConfigs, VIOLATIONS_MAX_AGE_MS } from '@bailiff/bus';
import { type Command, InvalidArgumentError } from 'commander';
import type { CliIo } from '../io.ts';
import { optionsOf, withBusOptions, withSession } from '../session.ts';

interface Options {
  replicas: number;
  keepDays: number;
}

const DAY_MS = 86_400_000;
/** JetStream's own bound. */
const REPLICAS = [1, 3, 5];
/** A stream's age is 64 bits of nanoseconds; ten years are what anybody's rules ask for. */
const MAX_KEEP_DAYS = 3_650;

const EXAMPLES = `
Examples:
  bailiff bus setup --nats-user admin --nats-password-file admin.password                one server
  bailiff bus setup --nats-user admin --nats-password-file admin.password --replicas 3   a cluster of three or more
  bailiff bus setup … --keep-days 30             violations for a month; verdicts and responses follow

Idempotent: what is there and right is left alone, what differs is changed, what cannot be changed is told. Nothing is ever
deleted. Only the bus's admin may.
`;

function replicas(text: string): number {
  const number = Number(text);
  if (!REPLICAS.includes(number))
    throw new InvalidArgumentError('1, 3 or 5: an even number survives no more than one less.');
  return number;
}

function keepDays(text: string): number {
  const number = Number(text);
  if (!Number.isInteger(number) || number < 1 || number > MAX_KEEP_DAYS)
    throw new InvalidArgumentError(`A whole number of days, 1 to ${MAX_KEEP_DAYS}.`);
  return number;
}

export function register(program: Command, io: CliIo): void {
  const bus = program
    .command('bus')
    .description('the bus itself: its streams and buckets')
    .addHelpText('after', EXAMPLES);
  const command = bus
    .command('setup')
    .description('make its streams, buckets, consumers and schemas, or bring them up to date')
    .option('--replicas <n>', 'servers that keep each stream', replicas, 1)
    .option('--keep-days <n>', 'how long violations are kept', keepDays, VIOLATIONS_MAX_AGE_MS / DAY_MS)
    .addHelpText('after', EXAMPLES);
  withBusOptions(command).action(async () => {
    const { replicas, keepDays } = optionsOf<Options>(command);
    const topology = { replicas, violationsMaxAgeMs: keepDays * DAY_MS, longestTimespanMs: LONGEST_TIMESPAN_MS };
    io.exitCode = await withSession(io, command, async ({ bus, out }) => {
      await ensureTopology(bus, topology);
      const kept = replicas === 1 ? 'by one server' : `by ${replicas} servers each`;
      out.line(`${streamConfigs(topology).length} streams and buckets are as they should be, kept ${kept}`);
      return 0;
    });
  });
}
