/**
 * Names of all objects of a lab, derived from its id, so that everything can be found and removed
 * even after the supervisor was killed. Interfaces live in the lab's namespaces, so only names of
 * namespaces, cgroups and directories have to be unique.
 */
import { randomInt } from 'node:crypto';
import path from 'node:path';

/** Root of the checkout: three folders above this file. */
export const CHECKOUT = path.resolve(import.meta.dirname, '../../..');

/**
 * Directory of all labs. BAILIFF_LABS_DIR selects another one, whose labs are invisible to the rest
 * of the machine.
 */
export const LABS_DIR = process.env['BAILIFF_LABS_DIR'] || '/run/bailiff-lab';
/** Directory of named namespaces of `ip netns`. */
export const NETNS_DIR = '/run/netns';

const ID_LETTERS = 'abcdefghijklmnopqrstuvwxyz0123456789';
const ID_LENGTH = 5;

/** @param pick a random integer in [0, below); passed in by tests */
export function newLabId(pick: (below: number) => number = (below) => randomInt(below)): string {
  // Starts with a letter, because it also becomes a DNS label.
  let id = ID_LETTERS[pick(26)] as string;
  while (id.length < ID_LENGTH) id += ID_LETTERS[pick(ID_LETTERS.length)];
  return id;
}

export const isLabId = (text: string) => /^[a-z][a-z0-9]{1,15}$/.test(text);
/** Error text of an invalid id. */
export const notALabId = (text: string) =>
  `"${text}" is not a lab's id: 2 to 16 lower-case letters and digits, a letter first`;

export const netnsPrefix = (labId: string) => `bl-${labId}-`;
export const fabricNetns = (labId: string) => `${netnsPrefix(labId)}fabric`;
export const nodeNetns = (labId: string, index: number) => `${netnsPrefix(labId)}n${index}`;
/** A pod's namespace is named by its UID, because pod names are reused. */
export const podNetns = (labId: string, podUid: string) => `${netnsPrefix(labId)}p-${podUid.slice(0, 13)}`;
export const netnsPath = (netns: string) => `${NETNS_DIR}/${netns}`;
export const cgroupName = (labId: string) => `bailiff-lab-${labId}`;

/**
 * One node of each lab has a name with dots, like nodes of many clouds. Subjects and keys must
 * support it.
 */
export function nodeName(index: number, count: number): string {
  return index === Math.min(1, count - 1) ? `node-${index}.lab.internal` : `node-${index}`;
}
