import { UNDOABLE_ACTIONS } from '@bailiff/vocabulary';
import { expect, it } from 'vitest';
import { ACTION_OF } from './index.ts';

it('undo - exists for the actions that policies let expire', () => {
  const undoable = Object.entries(ACTION_OF).filter(([, { undo }]) => undo !== undefined);
  expect(new Set(undoable.map(([name]) => name))).toEqual(UNDOABLE_ACTIONS);
});
