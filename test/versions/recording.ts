/**
 * Recordings of versions, one directory each: what a version leaves on the bus and on a node, for
 * the tests of upgrade and downgrade. record.ts writes them.
 *
 * `bus.ndjson.br`: messages with the fields that the version's own readers found in them.
 * `collector-<architecture>.tar.br`: the collector as its image contains it, so that tests let the
 * version itself write and read pins, maps and state files.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { brotliCompressSync, brotliDecompressSync, constants } from 'node:zlib';
import { COLLECTOR_NODE_FLAGS } from '../../tools/node-flags.ts';

/** Pseudo streams: one message of each schema with all fields, and the responder's Redis. */
export const SAMPLES = 'samples';
export const REDIS = 'redis';

export interface RecordedMessage {
  /** A stream of the bus, SAMPLES or REDIS. */
  stream: string;
  /** Subject, name of the schema, or key. */
  subject: string;
  sequence: number;
  timestampMicros: number;
  headers: Record<string, string>;
  /** Bytes of the message, or the result of Redis' DUMP. */
  data: Buffer;
  /** Fields as read by the recorded version; null: no Bailiff program reads it. */
  value: unknown;
}

const busFile = (version: string) => path.join(import.meta.dirname, version, 'bus.ndjson.br');
const collectorFile = (version: string) => path.join(import.meta.dirname, version, `collector-${process.arch}.tar.br`);

/** Versions with a recording, sorted by name. */
export function recordedVersions(): string[] {
  return readdirSync(import.meta.dirname)
    .filter((name) => existsSync(busFile(name)))
    .sort();
}

const compress = (bytes: Buffer) =>
  brotliCompressSync(bytes, {
    params: { [constants.BROTLI_PARAM_LGWIN]: 24, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length },
  });

export function readMessages(version: string): RecordedMessage[] {
  const text = brotliDecompressSync(readFileSync(busFile(version))).toString('utf8');
  return text
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Omit<RecordedMessage, 'data'> & { data: string })
    .map((message) => ({ ...message, data: Buffer.from(message.data, 'base64') }));
}

export function writeMessages(version: string, messages: readonly RecordedMessage[]): void {
  const lines = messages.map((message) => `${JSON.stringify({ ...message, data: message.data.toString('base64') })}\n`);
  mkdirSync(path.dirname(busFile(version)), { recursive: true });
  writeFileSync(busFile(version), compress(Buffer.from(lines.join(''))));
}

/** Writes a directory with main.mjs, parts, the addon and the BPF objects. */
export function writeCollector(version: string, directory: string): void {
  const options = ['--sort=name', '--owner=0', '--group=0', '--mtime=@0', '--mode=u+rw,go=rX'];
  const archive = execFileSync('tar', ['--create', ...options, '--directory', directory, '.'], { maxBuffer: 1 << 27 });
  mkdirSync(path.dirname(collectorFile(version)), { recursive: true });
  writeFileSync(collectorFile(version), compress(archive));
}

/**
 * Unpacks the collector of a version into a directory. @returns false: it was recorded on another
 * architecture
 */
export function unpackCollector(version: string, directory: string): boolean {
  if (!existsSync(collectorFile(version))) return false;
  const archive = brotliDecompressSync(readFileSync(collectorFile(version)));
  execFileSync('tar', ['--extract', '--directory', directory], { input: archive });
  return true;
}

/** Command of an unpacked collector, with the variables and flags of its image. */
export function collectorCommand(directory: string): string[] {
  const file = (name: string) => path.join(directory, name);
  const variables = [
    `BAILIFF_NATIVE=${file('bailiff_bpf.node')}`,
    `BAILIFF_SPOOF_OBJECT=${file('spoof.bpf.o')}`,
    `BAILIFF_RUNTIME_OBJECT=${file('runtime.bpf.o')}`,
  ];
  return ['env', ...variables, process.execPath, ...COLLECTOR_NODE_FLAGS, file('main.mjs')];
}
