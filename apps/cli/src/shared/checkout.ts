/** The checkout that this file belongs to, where the lab and the collector's sources are. */
import { existsSync } from 'node:fs';
import path from 'node:path';

export const LAB_MAIN = 'test/lab/src/main.ts';

/** The checkout of this file; null in an installation without sources. */
export function findCheckout(from: string): string | null {
  for (let dir = from; ; dir = path.dirname(dir)) {
    if (existsSync(path.join(dir, LAB_MAIN))) return dir;
    if (path.dirname(dir) === dir) return null;
  }
}
