/**
 * The package `@bailiff/connector`, packed and installed from its archive, with the examples of docs/siem
 * beside it: what a user has, and nothing of this workspace.
 */
import { execFile } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { launch, type RunningProcess } from './process.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');

export class PackedConnector implements Disposable {
  readonly directory: string;

  private constructor(directory: string) {
    this.directory = directory;
  }

  static async install(): Promise<PackedConnector> {
    const packed = new PackedConnector(mkdtempSync(path.join(tmpdir(), 'bailiff-connector-')));
    const at = (name: string) => path.join(packed.directory, name);
    const run = (program: string, args: readonly string[], cwd: string) => promisify(execFile)(program, args, { cwd });
    const tool = ['--import', 'tsx', 'tools/package/connector.ts', '--out', packed.directory];
    const { stdout } = await run(process.execPath, tool, ROOT);
    // Without a network and a cache: whatever the package needs is in it.
    const install = ['install', '--offline', '--no-audit', '--no-fund', '--cache', at('cache')];
    await run('npm', [...install, at(stdout.trim())], packed.directory);
    cpSync(path.join(ROOT, 'docs/siem'), at('siem'), { recursive: true });
    return packed;
  }

  /** An example of docs/siem as a process of Node, unchanged. */
  start(file: string, env: Readonly<Record<string, string>>, args: readonly string[] = []): RunningProcess {
    return launch(process.execPath, [path.join(this.directory, 'siem', file), ...args], {
      env: { ...process.env, ...env },
    });
  }

  [Symbol.dispose](): void {
    rmSync(this.directory, { recursive: true, force: true });
  }
}
