/** `bailiff bus setup`: makes the streams, buckets, consumers and schemas of a bus, or brings them up to date. Run by its admin. */
import {
  ageText,
  bytesText,
  ensureTopology,
  streamConfigs,
  VIOLATIONS_MAX_AGE_MS,
  VIOLATIONS_MAX_BYTES,
} from '@bailiff/bus';
import { type Command, InvalidArgumentError } from 'commander';
import type { CliIo } from '../shared/io.ts';
import { optionsOf, withBusOptions, withSession } from '../shared/session.ts';

/** An empty value is none, as of a setting that nobody made. */
type Said<T> = T | '';

interface Options {
  replicas?: Said<number>;
  keepDays?: Said<number>;
  keepBytes?: Said<number>;
  shrink?: boolean;
}

const DAY_MS = 86_400_000;
/** JetStream's own bound. */
const REPLICAS = [1, 3, 5];
/** A stream's age is 64 bits of nanoseconds; ten years are what anybody's rules ask for. */
const MAX_KEEP_DAYS = 3_650;
const BYTES_OF: Readonly<Record<string, number>> = {
  '': 1,
  MiB: 1024 ** 2,
  GiB: 1024 ** 3,
  TiB: 1024 ** 4,
};
/** A few hundred full frames; less holds no flood at all. */
const MIN_KEEP_BYTES = 16 * 1024 ** 2;
/** More than any server's disk, and exact as a number. */
const MAX_KEEP_BYTES = 1024 ** 5;

const EXAMPLES = `
Examples:
  bailiff bus setup --nats-user admin --nats-password-file admin.password                one server
  bailiff bus setup --nats-user admin --nats-password-file admin.password --replicas 3   a cluster of three or more
  bailiff bus setup … --keep-days 30 --keep-bytes 20GiB   violations for a month; verdicts and responses follow
  bailiff bus setup … --keep-days 7 --shrink              a week again: what is older is deleted

Idempotent: what is there and right is left alone, what differs is changed, what cannot be changed is told. What is not given
stays as it is on the bus, and an empty value (--keep-days '') is as one that is not given. Nothing is kept shorter, by fewer
bytes or by fewer servers than before without --shrink: without it the command says what would be lost, and changes nothing.
Only the bus's admin may.
`;

const unlessEmpty =
  <T>(parse: (text: string) => T) =>
  (text: string): Said<T> =>
    text.trim() === '' ? '' : parse(text.trim());

const given = <T>(value: Said<T> | undefined): T | undefined => (value === '' ? undefined : value);

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

function keepBytes(text: string): number {
  const [, digits = '', unit = ''] = /^(\d+) ?([KMGT]iB)?$/.exec(text) ?? [];
  const bytes = digits === '' ? Number.NaN : Number(digits) * (BYTES_OF[unit] ?? Number.NaN);
  if (!(bytes >= MIN_KEEP_BYTES && bytes <= MAX_KEEP_BYTES)) {
    const bounds = `${bytesText(MIN_KEEP_BYTES)} to ${bytesText(MAX_KEEP_BYTES)}`;
    throw new InvalidArgumentError(`A whole number of bytes, MiB, GiB or TiB, such as 20GiB: ${bounds}.`);
  }
  return bytes;
}

export function register(program: Command, io: CliIo): void {
  const bus = program
    .command('bus')
    .description('the bus itself: its streams and buckets')
    .addHelpText('after', EXAMPLES);
  const [days, bytes] = [VIOLATIONS_MAX_AGE_MS / DAY_MS, bytesText(VIOLATIONS_MAX_BYTES)];
  const command = bus
    .command('setup')
    .description('make its streams, buckets, consumers and schemas, or bring them up to date')
    .option(
      '--replicas <n>',
      'servers that keep each stream (default: as it is; 1 on a new bus)',
      unlessEmpty(replicas),
    )
    .option(
      '--keep-days <n>',
      `how long violations are kept (default: as it is; ${days} on a new bus)`,
      unlessEmpty(keepDays),
    )
    .option(
      '--keep-bytes <size>',
      `at most so much of violations, the oldest go first (default: as it is; ${bytes} on a new bus)`,
      unlessEmpty(keepBytes),
    )
    .option('--shrink', 'keep less than before where that is asked for, and delete what is beyond it')
    .addHelpText('after', EXAMPLES);
  withBusOptions(command).action(async () => {
    const { shrink, ...said } = optionsOf<Options>(command);
    const keepDays = given(said.keepDays);
    io.exitCode = await withSession(io, command, async ({ bus, out }) => {
      const report = await ensureTopology(bus, {
        replicas: given(said.replicas),
        violationsMaxAgeMs: keepDays === undefined ? undefined : keepDays * DAY_MS,
        violationsMaxBytes: given(said.keepBytes),
        shrink,
      });
      out.lines(report.losses);
      const { options } = report;
      const kept = options.replicas === 1 ? 'by one server' : `by ${options.replicas} servers each`;
      out.line(`${streamConfigs().length} streams and buckets are as they should be, kept ${kept}`);
      const limits = `${ageText(options.violationsMaxAgeMs)}, up to ${bytesText(options.violationsMaxBytes)}`;
      out.line(`violations are kept ${limits}; verdicts and responses as long as these can be judged again`);
      return 0;
    });
  });
}
