import { accessSync, constants } from 'node:fs';
import path from 'node:path';

/** Whether a directory of PATH has an executable file of this name. */
export const isOnPath = (program: string): boolean =>
  (process.env['PATH'] ?? '').split(path.delimiter).some((directory) => {
    try {
      accessSync(path.join(directory, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
