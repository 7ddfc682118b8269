/** `bailiff backup` and `bailiff restore`. Both need the admin user of the bus. */

import { rm } from 'node:fs/promises';
import {
  bytesText,
  metadataOfCopy,
  type SnapshotHead,
  snapshotStream,
  storedStreamInfo,
  toBusError,
} from '@bailiff/bus';
import { plural } from '@bailiff/response';
import type { Command } from 'commander';
import { replicas } from '../../shared/arguments.ts';
import type { CliIo } from '../../shared/io.ts';
import { onBus, type Session } from '../../shared/session.ts';
import { ArchiveWriter } from './archive.ts';
import { COPY_ORDER, FORMAT, FORMAT_VERSION, fileOf, type Manifest, type Part } from './manifest.ts';
import { type RestoreOptions, restore, verifyBackup } from './restore.ts';

const BACKUP_HELP = `
Examples:
  bailiff backup bus.tar --nats-user admin --nats-password-file admin.password
  bailiff restore bus.tar --dry-run     verify it

Writes one tar file with a snapshot per stream and a manifest with their SHA-256: streams, buckets, and
positions of SIEM connectors. Services and collectors may run. Keep the file safe, because it has all data
of the bus. It has no credentials: keep credentials.json too. Needs the admin user of the bus: with the
kubeconfig of a cluster administrator, --nats-user admin is enough.
`;

const RESTORE_HELP = `
Examples:
  bailiff restore bus.tar --dry-run
  bailiff restore bus.tar --nats-user admin --nats-password-file admin.password
  bailiff restore bus.tar … --replicas 3          a backup of one server on a cluster of three
  bailiff restore bus.tar … --replace             delete the streams that an installation has created

Messages keep their sequences and times. Nothing is restored unless the whole file is undamaged and the bus
has no stream of Bailiff. Services and collectors may run: they continue with the restored streams.
Needs the admin user of the bus.
`;

/** null if the bus has no such stream. */
async function copy({ bus, io }: Session, writer: ArchiveWriter, name: string): Promise<Part | null> {
  const copied = await writer.add<SnapshotHead | null>(fileOf(name), (write) =>
    snapshotStream(bus, name, (chunk) => {
      io.signal.throwIfAborted();
      return write(chunk);
    }).catch((error: unknown) => {
      if (toBusError(error, name).code !== 'BUS_NO_STREAM') throw error;
      return null;
    }),
  );
  const { result, bytes, sha256 } = copied;
  if (!result) return null;
  const info = await storedStreamInfo(bus, name);
  const config = { ...result.config, metadata: metadataOfCopy(info) };
  return { name, bytes, sha256, config, state: { ...result.state } };
}

/** @throws what snapshotStream throws, CliError CLI_USAGE, errors of the disk */
export async function backUp(session: Session, path: string): Promise<void> {
  const { bus, io, out } = session;
  const startedAt = new Date().toISOString();
  const writer = await ArchiveWriter.create(path);
  try {
    const streams: Part[] = [];
    const absent: string[] = [];
    for (const name of COPY_ORDER) {
      const part = await copy(session, writer, name);
      if (part) streams.push(part);
      else absent.push(name);
    }
    const manifest: Manifest = {
      format: FORMAT,
      version: FORMAT_VERSION,
      bailiff: io.version,
      natsServer: bus.nc.info?.version ?? '',
      startedAt,
      finishedAt: new Date().toISOString(),
      streams,
      absent,
    };
    const bytes = await writer.finish(manifest);
    const messages = streams.reduce((sum, { state }) => sum + state.messages, 0);
    out.line(`${path}: ${plural(streams.length, 'stream')}, ${plural(messages, 'message')}, ${bytesText(bytes)}`);
    if (absent.length > 0) out.note(`the bus has no ${absent.join(', ')}`);
    await writer.close();
  } catch (error) {
    await writer.close();
    await rm(path, { force: true });
    throw error;
  }
}

export function register(program: Command, io: CliIo): void {
  const backup = program
    .command('backup <file>')
    .description('copy streams and buckets of a running bus into one file')
    .addHelpText('after', BACKUP_HELP);
  onBus(backup, io, (_options: object, path: string) => (session) => backUp(session, path));
  const command = program
    .command('restore <file>')
    .description('create streams and buckets from a backup, on an empty bus')
    .option('--dry-run', 'verify the file and list its streams, without the bus')
    .option('--replicas <n>', 'replicas of each stream (default: as in the backup; 1 on a single server)', replicas)
    .option('--replace', 'first delete the streams and buckets that exist, with everything in them')
    .option('--yes', 'do not ask for confirmation')
    .addHelpText('after', RESTORE_HELP);
  onBus(command, io, ({ dryRun, ...options }: RestoreOptions & { dryRun?: boolean }, path: string) =>
    dryRun ? verifyBackup(io, path) : (session) => restore(session, path, options),
  );
}
