/**
 * The protocol of container runtimes (CRI) as Debian packages it, without the one import that its
 * messages do not need. scripts/setup fetches it (fetch-protocol.ts).
 */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { loadPackageDefinition, type ServiceClientConstructor } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

export const PROTOCOL_FILE = path.resolve(import.meta.dirname, '../../../.cache/cri/api.proto');
/** Options for code generators of Go. */
const UNNEEDED_IMPORT = /^import "github\.com\/gogo\/protobuf\/gogoproto\/gogo\.proto";\n/m;

export const hasProtocol = (): boolean => existsSync(PROTOCOL_FILE);

/** The packaged text as the loader can read it. @throws Error if it is another protocol */
export function protocolOf(packaged: string): string {
  if (!/^package runtime\.v1;$/m.test(packaged) || !UNNEEDED_IMPORT.test(packaged))
    throw new Error('the packaged file is not version 1 of the CRI with its known import');
  return packaged.replace(UNNEEDED_IMPORT, '');
}

export interface Services {
  RuntimeService: ServiceClientConstructor;
  ImageService: ServiceClientConstructor;
}

/** Field names stay as in the protocol; enums are their names. */
export function loadServices(): Services {
  const definition = loadSync(PROTOCOL_FILE, { keepCase: true, longs: Number, enums: String, defaults: true });
  return (loadPackageDefinition(definition) as unknown as { runtime: { v1: Services } }).runtime.v1;
}
