import { describe, expect, it } from 'vitest';
import { HeaderBlock } from '../connection/incoming.ts';
import { RepeatedFrames } from './repeated-frames.ts';

const frame = (subject: string, id: string) => ({
  subject,
  headers: new HeaderBlock(Buffer.from(`NATS/1.0\r\nNats-Msg-Id: ${id}\r\n\r\n`)),
});

describe('repeated frames', () => {
  it('a frame - is repeated when it comes again, within 128 frames of its subject', () => {
    const frames = new RepeatedFrames();
    const sent = Array.from({ length: 128 }, (_, index) => frame('a', `id-${index}`));
    expect(sent.filter((one) => frames.isRepeated(one))).toEqual([]);
    expect(sent.filter((one) => frames.isRepeated(one))).toHaveLength(128);
    expect(frames.isRepeated(frame('a', 'next'))).toBe(false);
    expect([frames.isRepeated(frame('a', 'id-0')), frames.isRepeated(frame('a', 'id-2'))]).toEqual([false, true]);
  });

  it('the id of another subject, a frame without an id, and one with a long id - are not', () => {
    const frames = new RepeatedFrames();
    for (const one of [frame('a', 'x'), frame('b', 'x'), { subject: 'a', headers: undefined }]) {
      expect(frames.isRepeated(one)).toBe(false);
    }
    expect(frames.isRepeated({ subject: 'a', headers: undefined })).toBe(false);
    for (const _ of [1, 2]) expect(frames.isRepeated(frame('a', 'x'.repeat(513)))).toBe(false);
  });

  it('no two of 100,000 ids are taken for each other', () => {
    const frames = new RepeatedFrames();
    const repeated = Array.from({ length: 100_000 }, (_, index) =>
      frames.isRepeated(frame('a', `node-a-boot-${index}`)),
    );
    expect(repeated).not.toContain(true);
  });
});
