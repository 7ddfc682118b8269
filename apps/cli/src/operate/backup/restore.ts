/**
 * `bailiff restore`: creates the streams of a backup on a bus that has none.
 *
 * The whole file is verified first. Otherwise nats-server would reject a damaged snapshot after other
 * streams were restored or replaced. A stream that exists is never changed; `--replace` first deletes
 * all streams of Bailiff.
 */
import {
  acrossElection,
  apiRequest,
  ensureTopology,
  isRestoring,
  metadataOfRestored,
  restoreStream,
  type SnapshotHead,
  storedStreamInfo,
  subjectsOfRestoring,
  toBusError,
} from '@bailiff/bus';
import { plural } from '@bailiff/response';
import { EXIT } from '@bailiff/service';
import { confirm } from '../../shared/confirm.ts';
import { CliError } from '../../shared/errors.ts';
import type { CliIo } from '../../shared/io.ts';
import { Out, type Session } from '../../shared/session.ts';
import { ArchiveReader } from './archive.ts';
import { type Manifest, type Part, RESTORE_ORDER } from './manifest.ts';

export interface RestoreOptions {
  replicas?: number;
  replace?: boolean;
  yes?: boolean;
}

/** Verifies and describes a backup, without a bus. @returns exit code. @throws CliError CLI_USAGE */
export async function verifyBackup(io: CliIo, path: string): Promise<number> {
  await using archive = await ArchiveReader.open(path);
  await archive.verify();
  const out = new Out(io);
  const { manifest } = archive;
  for (const { name, state } of manifest.streams) out.line(`${name}: ${describeState(state)}`);
  out.line(`${path}: complete and undamaged, made by ${manifest.bailiff} from ${manifest.startedAt} on`);
  return EXIT.ok;
}

const describeState = ({ messages, first_seq, last_seq }: Part['state']) =>
  messages === 0 ? 'empty' : `${plural(messages, 'message')}, sequences ${first_seq} to ${last_seq}`;

interface Existing {
  name: string;
  messages: number;
  servers: { name: string; isAway: boolean }[];
}

/** Streams of Bailiff that the bus has, their messages, and where they are. */
async function existing({ bus }: Session): Promise<Existing[]> {
  const found: Existing[] = [];
  for (const name of RESTORE_ORDER) {
    try {
      const { state, cluster } = await storedStreamInfo(bus, name);
      const others = (cluster?.replicas ?? []).map((one) => ({ name: one.name, isAway: !one.current }));
      const leader = cluster?.leader ? [{ name: cluster.leader, isAway: false }] : [];
      found.push({ name, messages: state.messages, servers: [...leader, ...others] });
    } catch (error) {
      if (toBusError(error, name).code !== 'BUS_NO_STREAM') throw error;
    }
  }
  return found;
}

/**
 * A new stream that waits for a server that is away would leave the bus without the others, after all were deleted.
 * @throws CliError CLI_STATE
 */
function requireServers(found: readonly Existing[], replicas: number): void {
  const servers = found.flatMap((one) => one.servers);
  const away = new Set(servers.filter(({ isAway }) => isAway).map(({ name }) => name));
  const present = new Set(servers.filter(({ isAway }) => !isAway).map(({ name }) => name));
  if (away.size === 0 || present.size >= replicas) return;
  throw new CliError(
    'CLI_STATE',
    `${[...away].join(', ')} of the bus does not follow the streams: it is needed for ${replicas} replicas`,
    {
      remedy: `nothing was changed: start it, or pass --replicas 1, and run \`bailiff bus setup --replicas ${replicas}\` when it is back`,
    },
  );
}

/** @throws CliError CLI_STATE, CLI_DECLINED */
async function makeRoom(session: Session, { replace, yes }: RestoreOptions, replicas: number): Promise<void> {
  const found = await existing(session);
  if (found.length === 0) return;
  const filled = found.filter(({ messages }) => messages > 0).map(({ name, messages }) => `${name} (${messages})`);
  const what = `${plural(found.length, 'stream')}${filled.length > 0 ? `, with messages in ${filled.join(', ')}` : ', all empty'}`;
  if (!replace) {
    throw new CliError('CLI_STATE', `the bus has ${what}: a backup is restored only where none exist`, {
      remedy: 'pass --replace to delete them first. Their messages are then lost: back them up before',
    });
  }
  requireServers(found, replicas);
  const { bus, connection, io } = session;
  const where = `of the bus ${bus.nc.getServer()} (selected by ${connection.source})`;
  await confirm(io, `Delete ${what}, ${where}?`, yes);
  // Copies before their bucket, violations before what correlators derive from them.
  for (const { name } of [...found].reverse()) await acrossElection(bus, io.signal, () => remove(session, name));
}

/** Succeeds if the stream does not exist: an earlier attempt may have deleted it. */
async function remove({ bus }: Session, name: string): Promise<void> {
  try {
    await bus.jsm.streams.delete(name);
  } catch (cause) {
    const error = toBusError(cause, name);
    if (error.code !== 'BUS_NO_STREAM') throw error;
  }
}

/** @throws CliError CLI_USAGE for more than a single server can hold */
function replicasFor({ bus }: Session, manifest: Manifest, wanted: number | undefined): number {
  if (bus.nc.info?.cluster) return wanted ?? Math.max(...manifest.streams.map(({ config }) => config.num_replicas));
  if ((wanted ?? 1) === 1) return 1;
  throw new CliError('CLI_USAGE', `--replicas ${wanted}: the bus is a single server`, { remedy: 'omit the flag' });
}

/** The ids of their messages' events name the life of the sequence. */
const WITH_EVENTS: ReadonlySet<string> = new Set(['VIOLATIONS', 'VERDICTS', 'RESPONSES']);

/** Begins a new life of a stream. @returns its state as it was restored */
async function restorePart({ bus, io }: Session, part: Part, pieces: AsyncIterable<Uint8Array>, replicas: number) {
  const { name, state } = part;
  const atMs = Date.now();
  const before = { ...part.config, num_replicas: replicas } as unknown as SnapshotHead['config'];
  const configWith = (lastSequence: number) => ({
    ...before,
    metadata: metadataOfRestored(before, lastSequence, atMs),
  });
  const restoreWith = (config: SnapshotHead['config']) =>
    restoreStream(bus, { config, state } as unknown as SnapshotHead, pieces);
  if (!WITH_EVENTS.has(name)) return (await restoreWith(configWith(state.last_seq))).state;
  const restored = await restoreWith({ ...before, subjects: subjectsOfRestoring(name) });
  // Bus setup may have begun the life meanwhile: then this state has new messages.
  if (isRestoring(restored.config))
    await acrossElection(bus, io.signal, () =>
      apiRequest(bus, `$JS.API.STREAM.UPDATE.${name}`, configWith(restored.state.last_seq)),
    );
  return restored.state;
}

/** @throws CliError, what restoreStream and ensureTopology throw */
export async function restore(session: Session, path: string, options: RestoreOptions): Promise<void> {
  const { bus, out, io } = session;
  await using archive = await ArchiveReader.open(path);
  await archive.verify();
  const replicas = replicasFor(session, archive.manifest, options.replicas);
  await makeRoom(session, options, replicas);
  const parts = new Map(archive.manifest.streams.map((part) => [part.name, part]));
  for (const name of RESTORE_ORDER) {
    const part = parts.get(name);
    if (!part) continue;
    io.signal.throwIfAborted();
    const restored = await restorePart(session, part, archive.pieces(part), replicas);
    out.line(`${name}: ${describeState(restored)}`);
  }
  // Restored streams may still elect leaders for their consumers.
  const { created, changed } = await acrossElection(bus, io.signal, () => ensureTopology(bus));
  if (created.length > 0) out.line(`not in the backup, and created empty: ${created.join(', ')}`);
  if (changed.length > 0) out.line(`changed to what this version needs: ${changed.join(', ')}`);
  out.line(`restored from ${archive.manifest.startedAt}, with ${plural(replicas, 'replica')} each`);
}
