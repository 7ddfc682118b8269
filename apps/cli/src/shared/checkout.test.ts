import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { findCheckout } from './checkout.ts';

describe('checkout', () => {
  it('is found from the sources and from the bundle beside them, and not elsewhere', () => {
    const root = path.resolve(import.meta.dirname, '../../../..');
    expect(findCheckout(import.meta.dirname)).toBe(root);
    expect(findCheckout(path.join(root, 'apps/cli/dist'))).toBe(root);
    expect(findCheckout('/usr/lib')).toBeNull();
  });
});
