/**
 * `collector uninstall-cni` removes the configuration list, then the binary of the CNI plugin. A
 * collector that serves the plugin would install both again, so the command refuses while one does.
 *
 * CRI-O and Multus delete a pod by the list that it was created with, so the binary stays while a
 * record of libcni names it, unless `--force` is given.
 */
import { once } from 'node:events';
import { readdirSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import path from 'node:path';
import { EXIT } from '@bailiff/service';
import { CNI_RESULTS_DIRS, OWN_CONFLIST } from '@bailiff/vocabulary';
import { fail, readFlags } from '../offline/command-line.ts';
import { PLUGIN_TYPE } from './conflist.ts';
import { readIfPresent } from './node-file.ts';
import { unmarkSeen } from './seen-file.ts';

const FLAGS = {
  'cni-conf-dir': { type: 'string', default: '/etc/cni/net.d' },
  'cni-bin-dir': { type: 'string', default: '/opt/cni/bin' },
  'cni-results-dir': { type: 'string', default: CNI_RESULTS_DIRS.join(',') },
  'cni-socket': { type: 'string', default: '/run/bailiff/cni.sock' },
  force: { type: 'boolean' },
} as const;

/**
 * Exit codes: 0; 1: the binary is in use; 4: missing privilege; 7: a collector serves the plugin.
 */
export async function uninstallCniCommand(argv: string[]): Promise<number> {
  const read = readFlags(argv, {
    usage:
      'collector uninstall-cni [--cni-conf-dir DIR] [--cni-bin-dir DIR] [--cni-results-dir DIR,DIR] [--cni-socket FILE] [--force]',
    about:
      'Removes the CNI plugin from this node. First set `cni` to off in the configuration of the collector. ' +
      '--force removes the binary although pods were created with it: CRI-O and Multus then cannot delete them.',
    flags: FLAGS,
  });
  if ('exit' in read) return read.exit as number;
  const { values } = read;
  if (await isServed(values['cni-socket']))
    return fail(EXIT.dependencyUnreachable, `a collector serves ${values['cni-socket']}: set cni to off first`);
  try {
    rmSync(path.join(values['cni-conf-dir'], OWN_CONFLIST), { force: true });
    unmarkSeen(values['cni-socket']);
    const users = values.force ? 0 : countUsers(values['cni-results-dir'].split(','));
    if (users > 0)
      return fail(
        EXIT.bug,
        `removed ${OWN_CONFLIST}; ${users} interfaces of pods were created with ${PLUGIN_TYPE}, so its binary stays. Run this again when they are gone, or add --force`,
      );
    rmSync(path.join(values['cni-bin-dir'], PLUGIN_TYPE), { force: true });
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException;
    const isPrivilege = ['EACCES', 'EPERM', 'EROFS'].includes(code);
    return fail(isPrivilege ? EXIT.missingPrivilege : EXIT.bug, (error as Error).message);
  }
  process.stdout.write(`removed ${OWN_CONFLIST} and ${PLUGIN_TYPE}\n`);
  return EXIT.ok;
}

async function isServed(socket: string): Promise<boolean> {
  const connection = connect(socket);
  try {
    await once(connection, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    connection.destroy();
  }
}

/** Records of libcni whose list has the plugin: one for each network of a pod. */
function countUsers(resultsDirs: readonly string[]): number {
  const files = resultsDirs.flatMap((dir) => {
    try {
      return readdirSync(dir).map((name) => path.join(dir, name));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      return [];
    }
  });
  const usesPlugin = (file: string): boolean => {
    const text = readIfPresent(file)?.content.toString('utf8') ?? '';
    const config = /"config":\s*"([A-Za-z0-9+/=]*)"/.exec(text)?.[1] ?? '';
    return Buffer.from(config, 'base64').toString('utf8').includes(`"${PLUGIN_TYPE}"`);
  };
  return files.filter(usesPlugin).length;
}
