import { describe, expect, test } from 'vitest';
import { attachTypeOf, type ChainHook, hookOfType, type TcxPosition, tcxPlace } from './tcx.ts';

describe('tcx', () => {
  test.each<[TcxPosition, { flags: number; relativeId: number }]>([
    ['head', { flags: 0x8, relativeId: 0 }],
    ['tail', { flags: 0x10, relativeId: 0 }],
    [{ before: { programId: 7 } }, { flags: 0x28, relativeId: 7 }],
    [{ after: { programId: 7 } }, { flags: 0x30, relativeId: 7 }],
    [{ before: { linkId: 9 } }, { flags: 0x2028, relativeId: 9 }],
    [{ after: { linkId: 9 } }, { flags: 0x2030, relativeId: 9 }],
  ])('place - %j', (position, place) => {
    expect(tcxPlace(position)).toEqual(place);
  });

  test.each<ChainHook>(['ingress', 'egress', 'netkit-primary', 'netkit-peer'])('hook - %s, both ways', (hook) => {
    expect(hookOfType(attachTypeOf(hook))).toBe(hook);
  });

  test('hook - null for another attach type', () => {
    expect(hookOfType(27)).toBeNull();
  });
});
