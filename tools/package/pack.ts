/** What the packages have in common: a directory with their files, packed as npm does. */
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

export const ROOT = path.resolve(import.meta.dirname, '../..');

const readJson = (file: string) => JSON.parse(readFileSync(path.join(ROOT, file), 'utf8')) as Record<string, unknown>;
const { version, license, engines } = readJson('package.json');

/**
 * Packs what `stage` writes into a directory, with manifest, licence and README. @param folder of the
 * workspace, with the README @returns name of the archive in `out`
 */
export async function pack(
  out: string,
  folder: string,
  manifest: Record<string, unknown>,
  stage: (directory: string) => void | Promise<void>,
): Promise<string> {
  const directory = mkdtempSync(path.join(tmpdir(), 'bailiff-package-'));
  try {
    mkdirSync(out, { recursive: true });
    await stage(directory);
    copyFileSync(path.join(ROOT, 'LICENSE'), path.join(directory, 'LICENSE'));
    copyFileSync(path.join(ROOT, folder, 'README.md'), path.join(directory, 'README.md'));
    const whole = { ...manifest, version, license, type: 'module', engines };
    writeFileSync(path.join(directory, 'package.json'), `${JSON.stringify(whole, null, 2)}\n`);
    const packed = execFileSync('npm', ['pack', '--json', '--offline', '--pack-destination', out], {
      cwd: directory,
      encoding: 'utf8',
    });
    const [{ filename }] = JSON.parse(packed) as [{ filename: string }];
    return filename;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

export { readJson, version };
