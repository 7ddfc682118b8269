/** All actions by name. */
import type { ResponseAction } from '@bailiff/schemas';
import type { Action } from './action.ts';
import { capture } from './capture.ts';
import { cordon } from './cordon.ts';
import { deleteAction } from './delete.ts';
import { evict } from './evict.ts';
import { label } from './label.ts';
import { observe } from './observe.ts';
import { quarantine } from './quarantine.ts';

export const ACTION_OF: Readonly<Record<ResponseAction, Action>> = {
  observe,
  label,
  quarantine,
  evict,
  delete: deleteAction,
  cordon,
  capture,
};
