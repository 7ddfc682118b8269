// Vitest's setup of the tier e2e: each file has its own directory of labs. A starting lab removes
// labs whose supervisor is dead, so it could remove a lab that another file has just killed and
// still inspects.
import { existsSync, mkdtempSync, rmdirSync } from 'node:fs';
import { afterAll } from 'vitest';

const directory = mkdtempSync('/run/bailiff-labs-');
process.env['BAILIFF_LABS_DIR'] = directory;

// Registered before all hooks of the file, so it runs after them. A leftover lab fails the file;
// the last lab removes the directory.
afterAll(() => {
  if (existsSync(directory)) rmdirSync(directory);
});
