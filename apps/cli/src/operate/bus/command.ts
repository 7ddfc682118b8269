/**
 * `bailiff bus setup`: creates or updates streams, buckets, consumers and schemas. Needs the admin
 * user.
 */
import {
  ageText,
  bytesText,
  CONFIG_BUCKET,
  ensureTopology,
  openBucket,
  streamConfigs,
  VIOLATIONS_MAX_AGE_MS,
  VIOLATIONS_MAX_BYTES,
  writeConfig,
} from '@bailiff/bus';
import {
  type ConfigKey,
  type ConfigSigner,
  formatConfigKey,
  INITIAL_MODES,
  type InitialMode,
  initialSpoofPolicy,
  SPOOF_CLUSTER_KEY,
} from '@bailiff/policy';
import { plural } from '@bailiff/response';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { bytesIn, parseSpan, replicas } from '../../shared/arguments.ts';
import { readTree } from '../../shared/config-tree/read.ts';
import type { CliIo } from '../../shared/io.ts';
import { readSigner, SIGN_HELP, signing } from '../../shared/key-file.ts';
import { keyOf } from '../../shared/policy/names.ts';
import { prepare } from '../../shared/policy/prepare.ts';
import { type BusOptionValues, optionsOf, type Session, withBusOptions, withSession } from '../../shared/session.ts';
import { untilTheBusIsUp } from './wait.ts';

/** An empty value counts as absent, so that scripts can pass unset variables. */
type OrEmpty<T> = T | '';

interface Options extends BusOptionValues {
  replicas?: OrEmpty<number>;
  keepDays?: OrEmpty<number>;
  keepBytes?: OrEmpty<number>;
  shrink?: boolean;
  initialMode?: InitialMode;
  initialConfig?: string;
  sign?: ConfigSigner;
  wait?: string;
}

const DAY_MS = 86_400_000;
/** Longer than the slowest start of a cluster; a waiting command is not a service. */
const MAX_WAIT_MS = 3_600_000;
/** The protocol's limit is 64 bits of nanoseconds; ten years cover any retention rule. */
const MAX_KEEP_DAYS = 3_650;
/** A few hundred full frames; less cannot hold a flood. */
const MIN_KEEP_BYTES = 16 * 1024 ** 2;
/** Larger than any disk, and exact as a number. */
const MAX_KEEP_BYTES = 1024 ** 5;

const EXAMPLES = `
Examples:
  bailiff bus setup --nats-user admin --nats-password-file admin.password                one server
  bailiff bus setup --nats-user admin --nats-password-file admin.password --replicas 3   a cluster of three or more
  bailiff bus setup … --keep-days 30 --keep-bytes 20GiB   keep violations for a month, verdicts and responses accordingly
  bailiff bus setup … --keep-days 7 --shrink              back to a week: older messages are deleted
  bailiff bus setup … --initial-config DIR                store the configuration in DIR, except for keys that exist or existed
  bailiff bus setup … --wait 10m                          during an installation: the bus may start later

Idempotent: differences are changed, and differences that cannot be changed are reported. Omitted flags and empty values
(--keep-days '') leave the setting of the bus unchanged. Retention and replicas are only reduced with --shrink: without it,
the command lists what would be lost and changes nothing. Needs the admin user of the bus.
`;

const unlessEmpty =
  <T>(parse: (text: string) => T) =>
  (text: string): OrEmpty<T> =>
    text.trim() === '' ? '' : parse(text.trim());

const given = <T>(value: OrEmpty<T> | undefined): T | undefined => (value === '' ? undefined : value);

function keepDays(text: string): number {
  const number = Number(text);
  if (!Number.isInteger(number) || number < 1 || number > MAX_KEEP_DAYS)
    throw new InvalidArgumentError(`Use a whole number of days from 1 to ${MAX_KEEP_DAYS}.`);
  return number;
}

function keepBytes(text: string): number {
  const bytes = bytesIn(text);
  if (!(bytes >= MIN_KEEP_BYTES && bytes <= MAX_KEEP_BYTES)) {
    const bounds = `${bytesText(MIN_KEEP_BYTES)} to ${bytesText(MAX_KEEP_BYTES)}`;
    throw new InvalidArgumentError(`Use a whole number of bytes, MiB, GiB or TiB, such as 20GiB: ${bounds}.`);
  }
  return bytes;
}

export function register(program: Command, io: CliIo): void {
  const bus = program.command('bus').description('streams and buckets of the bus').addHelpText('after', EXAMPLES);
  const [days, bytes] = [VIOLATIONS_MAX_AGE_MS / DAY_MS, bytesText(VIOLATIONS_MAX_BYTES)];
  const command = bus
    .command('setup')
    .description('create or update streams, buckets, consumers and schemas')
    .option('--replicas <n>', 'replicas of each stream (default: unchanged; 1 on a new bus)', unlessEmpty(replicas))
    .option(
      '--keep-days <n>',
      `retention of violations in days (default: unchanged; ${days} on a new bus)`,
      unlessEmpty(keepDays),
    )
    .option(
      '--keep-bytes <size>',
      `size limit of violations; the oldest are deleted first (default: unchanged; ${bytes} on a new bus)`,
      unlessEmpty(keepBytes),
    )
    .addOption(
      new Option(
        '--initial-mode <mode>',
        'audit: unless a policy for packets of the cluster was ever stored, store one that audits every vector',
      ).choices(INITIAL_MODES),
    )
    .option(
      '--initial-config <dir>',
      'store the keys of these files that were never stored; the layout is that of `bailiff config import`',
    )
    .option('--sign <keyfile>', `${SIGN_HELP}; for the initial values`, readSigner)
    .option('--shrink', 'allow lower limits than before, and delete what exceeds them')
    .option('--wait <duration>', 'retry while the bus is not up yet (default: one attempt)')
    .addHelpText('after', EXAMPLES);
  withBusOptions(command).action(async () => {
    const { wait, ...options } = optionsOf<Options>(command);
    const waitMs = wait === undefined ? 0 : parseSpan(wait, '--wait', MAX_WAIT_MS);
    await untilTheBusIsUp(io, waitMs, async () => {
      io.exitCode = await withSession(io, command, (session) => setUp(session, options));
    });
  });
}

/** Unowned, so that a custom resource can replace it. */
async function auditFirst({ bus, out, io }: Session, signer: ConfigSigner | undefined): Promise<void> {
  if (await openBucket(bus, CONFIG_BUCKET).newest(SPOOF_CLUSTER_KEY)) return;
  const note = { by: 'bus setup', why: 'initial mode audit', ...signing(signer, io.nowMs()) };
  const options = { ...note, expectedRevision: 0, release: true };
  await writeConfig(bus, SPOOF_CLUSTER_KEY, initialSpoofPolicy('audit'), options);
  out.line(`${SPOOF_CLUSTER_KEY}: every vector is audited`);
}

async function setUp(
  session: Session,
  { shrink, initialMode, initialConfig, sign, ...limits }: Options,
): Promise<void> {
  const { bus, out } = session;
  const keepDays = given(limits.keepDays);
  const report = await ensureTopology(bus, {
    replicas: given(limits.replicas),
    violationsMaxAgeMs: keepDays === undefined ? undefined : keepDays * DAY_MS,
    violationsMaxBytes: given(limits.keepBytes),
    shrink,
  });
  out.lines(report.losses);
  if (initialMode === 'audit') await auditFirst(session, sign);
  if (initialConfig !== undefined) await storeInitialConfig(session, initialConfig, sign);
  const { options } = report;
  const replicaText = plural(options.replicas, 'replica');
  out.line(`${streamConfigs().length} streams and buckets are up to date, with ${replicaText} each`);
  const retention = `${ageText(options.violationsMaxAgeMs)}, up to ${bytesText(options.violationsMaxBytes)}`;
  out.line(`violations are retained for ${retention}; verdicts and responses as long as their violations`);
}

const WHY = 'initial configuration';

/**
 * `bus setup --initial-config`: stores configuration keys that were never stored. A key that an
 * operator changed or deleted stays as it is, so an upgrade never undoes a decision. All files are
 * checked before the first write. The keys have no owner, so that a custom resource can replace them.
 * @throws CliError CLI_CONFIG | CLI_USAGE, PolicyError, ConfigError, BusError; ENOENT
 */
async function storeInitialConfig(session: Session, directory: string, signer?: ConfigSigner): Promise<void> {
  const { bus, out, io } = session;
  const bucket = openBucket(bus, CONFIG_BUCKET);
  const isNew = async (key: ConfigKey) => (await bucket.newest(formatConfigKey(key))) === null;
  const tree = await readTree(directory);
  const policies = await filter(tree.policies, ({ namespace, name }) => isNew(keyOf(namespace, name)));
  const values = await filter(tree.values, ({ key }) => isNew(key));
  const prepared = policies.length === 0 ? [] : await prepare(session, policies, WHY);
  const wanted = [...values.map(({ key, value }) => ({ key, next: value })), ...prepared];
  for (const { key, next } of wanted) {
    if (!next) continue;
    const note = { by: 'bus setup', why: WHY, ...signing(signer, io.nowMs()) };
    await writeConfig(bus, key, next, { ...note, expectedRevision: 0, release: true });
    out.line(`${formatConfigKey(key)}: stored`);
  }
  const present = tree.values.length + tree.policies.length - wanted.length;
  if (present > 0) out.line(`${present} initial keys exist or existed, and stay as they are`);
}

async function filter<T>(list: readonly T[], isWanted: (one: T) => Promise<boolean>): Promise<T[]> {
  const wanted = await Promise.all(list.map(isWanted));
  return list.filter((_, index) => wanted[index]);
}
