import { expect, it } from 'vitest';
import { imageEntry, overlay, replicasFor } from './overlay.ts';

it.each([
  ['registry.example/a/nats:2.14', { newName: 'registry.example/a/nats', newTag: '2.14' }],
  ['registry.example:5000/nats', { newName: 'registry.example:5000/nats' }],
  ['registry.example:5000/nats@sha256:12', { newName: 'registry.example:5000/nats', digest: 'sha256:12' }],
])('imageEntry - %s', (image, entry) => {
  expect(imageEntry('nats', image)).toEqual({ name: 'nats', ...entry });
});

it('a cluster of less than three nodes gets one NATS server', () => {
  expect([1, 2, 3, 50].map(replicasFor)).toEqual([1, 1, 3, 3]);
});

it('the overlay sets every image, and the replicas of server and streams together', () => {
  const images = { imagePrefix: 'r/b', imageTag: '7', natsImage: '', valkeyImage: 'r/v:8' };
  const { images: set, configMapGenerator, patches } = JSON.parse(overlay(images, 1));
  expect(set).toContainEqual({ name: 'bailiff/collector', newName: 'r/b/collector', newTag: '7' });
  expect(set).toContainEqual({ name: 'valkey/valkey', newName: 'r/v', newTag: '8' });
  expect(set.map(({ name }: { name: string }) => name)).not.toContain('nats');
  expect(configMapGenerator[0].literals).toEqual(['natsReplicas=1']);
  expect(JSON.parse(patches[0].patch)[0].value).toBe(1);
});
