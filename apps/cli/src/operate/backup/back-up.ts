/** `bailiff backup`: copies every stream and bucket of a running bus into one file. */
import { rm } from 'node:fs/promises';
import { bytesText, type SnapshotHead, snapshotStream, toBusError } from '@bailiff/bus';
import { plural } from '@bailiff/response';
import type { Session } from '../../shared/session.ts';
import { ArchiveWriter } from './archive.ts';
import { FORMAT, FORMAT_VERSION, fileOf, type Manifest, type Part } from './manifest.ts';
import { COPY_ORDER } from './order.ts';

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
  return result && { name, bytes, sha256, config: { ...result.config }, state: { ...result.state } };
}

/** @returns exit code. @throws what snapshotStream throws, CliError CLI_USAGE, errors of the disk */
export async function backUp(session: Session, path: string): Promise<number> {
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
    return 0;
  } catch (error) {
    await writer.close();
    await rm(path, { force: true });
    throw error;
  }
}
