/** Where the compiled LSM programs are, and where a node pins them. */
import path from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 * Path of the compiled programs: BAILIFF_RUNTIME_OBJECT (bundled apps) or this package's build
 * directory.
 */
export function runtimeObjectPath(): string {
  return (
    process.env['BAILIFF_RUNTIME_OBJECT'] || fileURLToPath(new URL('../../build/bpf/runtime.bpf.o', import.meta.url))
  );
}

export const runtimeDir = (pinDir: string): string => path.join(pinDir, 'runtime');
export const mapsDir = (pinDir: string): string => path.join(runtimeDir(pinDir), 'maps');
export const linksDir = (pinDir: string): string => path.join(runtimeDir(pinDir), 'links');
export const defaultSamplesPin = (pinDir: string): string => path.join(pinDir, 'maps/samples');
