import { describe, expect, test } from 'vitest';
import { ruleCovers } from '../access/users.ts';
import { parseRequest } from '../request/path.ts';
import { humanDuration } from '../times.ts';
import { faceOf } from './negotiate.ts';

describe('path', () => {
  test.each([
    ['GET', '/api/v1/pods', 'list', '', 'pods', '', '', ''],
    ['GET', '/api/v1/pods?watch=true', 'watch', '', 'pods', '', '', ''],
    ['GET', '/api/v1/namespaces/a/pods/b', 'get', '', 'pods', 'a', 'b', ''],
    ['PUT', '/api/v1/namespaces/a/pods/b/status', 'update', '', 'pods', 'a', 'b', 'status'],
    ['POST', '/api/v1/namespaces/a/pods/b/eviction', 'create', '', 'pods', 'a', 'b', 'eviction'],
    ['GET', '/api/v1/namespaces/a', 'get', '', 'namespaces', '', 'a', ''],
    ['PATCH', '/api/v1/namespaces/a/status', 'patch', '', 'namespaces', '', 'a', 'status'],
    [
      'DELETE',
      '/apis/coordination.k8s.io/v1/namespaces/a/leases',
      'deletecollection',
      'coordination.k8s.io',
      'leases',
      'a',
      '',
      '',
    ],
    ['DELETE', '/apis/g/v1/things/x%2Fy', 'delete', 'g', 'things', '', 'x/y', ''],
  ])('path - %s %s', (method, url, verb, group, resource, namespace, name, subresource) => {
    expect(parseRequest(method, url)).toMatchObject({
      kind: 'resource',
      verb,
      group,
      resource,
      namespace,
      name,
      subresource,
    });
  });

  test.each([
    ['GET', '/healthz'],
    ['GET', '/api'],
    ['GET', '/api/v1'],
    ['GET', '/apis/apps/v1/'],
    ['GET', '/'],
  ])('path - %s %s is plain', (method, url) => {
    expect(parseRequest(method, url)?.kind).toBe('plain');
  });

  test('path - an unknown method or a bad escape is refused', () => {
    expect(parseRequest('TRACE', '/api/v1/pods')).toBeUndefined();
    expect(parseRequest('PATCH', '/api/v1/pods')).toBeUndefined();
    expect(() => parseRequest('GET', '/api/v1/nodes/%zz')).toThrow(expect.objectContaining({ httpStatus: 400 }));
  });
});

describe('accept', () => {
  test.each([
    [undefined, 'object'],
    ['*/*', 'object'],
    ['application/json', 'object'],
    ['application/vnd.kubernetes.protobuf, application/json', 'object'],
    ['application/json;as=Table;v=v1;g=meta.k8s.io,application/json', 'table'],
    ['application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json', 'object'],
    ['application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1', 'metadata'],
  ])('accept - %s is answered with %s', (accept, face) => {
    expect(faceOf(accept)).toBe(face);
  });

  test.each(['text/html', 'application/vnd.kubernetes.protobuf', 'application/json;as=Poem;v=v1;g=meta.k8s.io'])(
    'accept - %s is not acceptable',
    (accept) => {
      expect(() => faceOf(accept)).toThrow(expect.objectContaining({ httpStatus: 406 }));
    },
  );
});

describe('rules', () => {
  const asked = { verb: 'delete', group: '', resource: 'pods', subresource: '', namespace: 'a', name: 'p' } as const;
  test.each([
    [{ verbs: ['delete'], resources: ['pods'] }, true],
    [{ verbs: ['*'], resources: ['*'], apiGroups: ['*'] }, true],
    [{ verbs: ['get'], resources: ['pods'] }, false],
    [{ verbs: ['delete'], resources: ['pods/status'] }, false],
    [{ verbs: ['delete'], resources: ['pods'], apiGroups: ['apps'] }, false],
    [{ verbs: ['delete'], resources: ['pods'], namespace: 'b' }, false],
    [{ verbs: ['delete'], resources: ['pods'], resourceNames: ['q'] }, false],
  ])('rules - %j covers it: %s', (rule, expected) => {
    expect(ruleCovers(rule, asked)).toBe(expected);
  });
});

describe('age', () => {
  const [minute, hour, day] = [60_000, 3_600_000, 86_400_000];
  test.each([
    [-5000, '<invalid>'],
    [0, '0s'],
    [119_999, '119s'],
    [2 * minute, '2m'],
    [2 * minute + 5000, '2m5s'],
    [10 * minute + 5000, '10m'],
    [3 * hour, '3h'],
    [3 * hour + 4 * minute, '3h4m'],
    [9 * hour + 4 * minute, '9h'],
    [2 * day + hour, '2d1h'],
    [8 * day + hour, '8d'],
    [800 * day, '2y70d'],
  ])('age - %i ms is %s', (ms, expected) => {
    expect(humanDuration(ms)).toBe(expected);
  });
});
