// Vitest's set-up of the tier e2e: the labs of a file are in a directory of their own. A lab that comes up removes those whose supervisor is
// dead, so one of another file, or of somebody else on the machine, would take away what a test has just killed and still looks at.
import { existsSync, mkdtempSync, rmdirSync } from 'node:fs';
import { afterAll } from 'vitest';

const directory = mkdtempSync('/run/bailiff-labs-');
process.env['BAILIFF_LABS_DIR'] = directory;

// Registered before all of the file's own, so it runs after them. A lab that is left in it fails the file; the last that goes takes it along.
afterAll(() => {
  if (existsSync(directory)) rmdirSync(directory);
});
