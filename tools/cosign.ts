/** cosign of scripts/setup, for tests that verify a release as a stranger does (tools/fetch-cosign.ts). */
import path from 'node:path';

export const COSIGN_ROOT = path.resolve(import.meta.dirname, '../.cache/cosign');
/** In the package. */
export const COSIGN_PROGRAM = 'usr/bin/cosign';
export const COSIGN = path.join(COSIGN_ROOT, COSIGN_PROGRAM);
export const NO_COSIGN = 'no cosign: scripts/setup unpacks the package of Debian 13';
