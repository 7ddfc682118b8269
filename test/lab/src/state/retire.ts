/**
 * `lab down`, and the first step of `up`: removes labs whose supervisor is dead and never touches
 * running ones.
 */
import { stat } from 'node:fs/promises';
import path from 'node:path';
import { LabError } from '../errors.ts';
import { LABS_DIR } from '../names.ts';
import { removeEverything, takeDown } from './cleanup.ts';
import { isAlive, listLabs, readState } from './state.ts';

/** A directory without a state may belong to a supervisor that is just starting. */
const BEGINNING_MS = 10_000;

export async function removeStaleLabs(tell: (text: string) => void, labsDir = LABS_DIR): Promise<void> {
  for (const { id, state, alive } of await listLabs(labsDir)) {
    if (alive) continue;
    if (!state) {
      const { mtimeMs } = await stat(path.join(labsDir, id)).catch(() => ({ mtimeMs: Date.now() }));
      if (Date.now() - mtimeMs < BEGINNING_MS) continue;
    }
    tell(`removing lab ${id}, whose supervisor is dead`);
    await removeEverything(id, labsDir);
  }
}

/**
 * Refuses a second lab with the same id: it would overwrite the state of the first, and its failure
 * would remove what the first runs on. @throws LabError LAB_EXISTS while its supervisor runs, in
 * any phase
 */
export async function requireFree(id: string, labsDir: string): Promise<void> {
  const state = await readState(path.join(labsDir, id));
  if (state && isAlive(state))
    throw new LabError('LAB_EXISTS', `lab ${id} is up: \`bailiff lab down --lab ${id}\` first, or another --lab`);
}

/** For an unknown id, or without any lab. */
export const notFound = (id: string | undefined) =>
  new LabError(
    'LAB_NOT_FOUND',
    id === undefined ? 'no lab is up' : `no lab "${id}": \`bailiff lab list\` shows the labs`,
  );

/** @returns the exit code, 0 also without labs. @throws LabError LAB_LEFTOVER, LAB_NOT_FOUND */
export async function takeDownLabs(
  request: { id: string | undefined; all: boolean },
  tell: (text: string) => void,
  labsDir = LABS_DIR,
): Promise<number> {
  const known = await listLabs(labsDir);
  const chosen = request.all ? known : known.filter(({ id }) => id === (request.id ?? known[0]?.id));
  if (chosen.length === 0) {
    if (request.id !== undefined) throw notFound(request.id);
    tell('no lab is up');
    return 0;
  }
  if (process.getuid?.() !== 0) throw new LabError('LAB_NOT_ROOT', 'removing a lab needs root');
  for (const { id } of chosen) {
    await takeDown(id, labsDir);
    tell(`lab ${id} is down`);
  }
  return 0;
}
