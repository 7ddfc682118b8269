import { expect, it } from 'vitest';
import { chartValues, imageValues, profilesFor } from './values.ts';

it.each([
  ['registry.example/a/nats:2.14', { repository: 'registry.example/a/nats', tag: '2.14', digest: '' }],
  ['registry.example:5000/nats', { repository: 'registry.example:5000/nats', tag: '', digest: '' }],
  ['registry.example:5000/nats@sha256:12', { repository: 'registry.example:5000/nats', tag: '', digest: 'sha256:12' }],
])('imageValues - %s', (image, values) => {
  expect(imageValues(image)).toEqual(values);
});

it('a cluster of less than three nodes gets one NATS server', () => {
  expect([1, 2, 3, 50].map(profilesFor)).toEqual([['single-node'], ['single-node'], ['ha'], ['ha']]);
});

it('every image of Bailiff is set, those of others only by their flags, and each node is checked', () => {
  const images = { imagePrefix: 'r/b', imageTag: '7', natsImage: '', valkeyImage: 'r/v:8' };
  const values = chartValues(images, 5) as Record<string, Record<string, unknown>>;
  expect(values['ipamSync']).toEqual({ image: { repository: 'r/b/ipam-sync', tag: '7', digest: '' } });
  expect(values['busSetup']).toEqual({ image: { repository: 'r/b/cli', tag: '7', digest: '' } });
  expect(values['redis']).toEqual({ image: { repository: 'r/v', tag: '8', digest: '' } });
  expect(values).not.toHaveProperty('nats');
  expect(values['preflight']).toEqual({ enabled: true, nodes: 5 });
});
