/** The source checkout that this program is part of, if it is. */
import { existsSync } from 'node:fs';
import path from 'node:path';

/** A file that every checkout has and no installation. */
const MARK = 'test/lab/src/main.ts';

export function findCheckout(from: string): string | null {
  for (let dir = from; ; dir = path.dirname(dir)) {
    if (existsSync(path.join(dir, MARK))) return dir;
    if (path.dirname(dir) === dir) return null;
  }
}
