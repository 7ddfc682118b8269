/**
 * Reviews: access questions that are answered and not stored. SelfSubjectReview,
 * SelfSubjectAccessReview, SubjectAccessReview and TokenReview use the tokens and rules that apply to every
 * request. A subject that is no user here has no rights, and groups give none.
 * Pure.
 */
import { apiVersionOf, type ResourceDef, reviewResources, type Verb } from '../kinds/resources.ts';
import { at, type JsonObject, listAt, type ObjectInput, textAt } from '../types.ts';
import type { Tokens } from './auth.ts';
import { mayDo, type TokenUser } from './users.ts';

/** The response to a review; undefined for other resources. */
export function answerReview(
  def: ResourceDef,
  input: ObjectInput,
  user: TokenUser,
  tokens: Tokens,
): JsonObject | undefined {
  if (!reviewResources.includes(def)) return undefined;
  const status = statusOf(def, input, user, tokens);
  return {
    kind: def.kind,
    apiVersion: apiVersionOf(def),
    metadata: { creationTimestamp: null },
    spec: input['spec'],
    status,
  };
}

function statusOf(def: ResourceDef, input: ObjectInput, user: TokenUser, tokens: Tokens): JsonObject {
  switch (def.plural) {
    case 'selfsubjectreviews':
      return { userInfo: userInfo(user) };
    case 'tokenreviews':
      return tokenStatus(input, tokens);
    case 'subjectaccessreviews':
      return subjectStatus(input, tokens);
    default:
      return accessStatus(input, user);
  }
}

function userInfo(user: TokenUser): JsonObject {
  const groups = [...(user.groups ?? []), 'system:authenticated'];
  return {
    username: user.user,
    ...(user.uid === undefined ? {} : { uid: user.uid }),
    groups,
    ...(user.extra === undefined ? {} : { extra: user.extra }),
  };
}

function tokenStatus(input: ObjectInput, tokens: Tokens): JsonObject {
  const asked = listAt<string>(input, 'spec', 'audiences');
  const reviewed = tokens.review(textAt(input, 'spec', 'token'), asked.length > 0 ? asked : undefined);
  if ('error' in reviewed) return { user: {}, error: reviewed.error };
  return { authenticated: true, user: userInfo(reviewed.user), audiences: reviewed.audiences };
}

function subjectStatus(input: ObjectInput, tokens: Tokens): JsonObject {
  const name = textAt(input, 'spec', 'user');
  const subject = tokens.users().find(({ user }) => user === name);
  return subject ? accessStatus(input, subject) : { allowed: false };
}

function accessStatus(input: ObjectInput, user: TokenUser): JsonObject {
  const attributes = at(input, 'spec', 'resourceAttributes');
  if (attributes === undefined) return { allowed: false, reason: 'only resourceAttributes are understood' };
  const asked = {
    verb: textAt(attributes, 'verb') as Verb,
    group: textAt(attributes, 'group'),
    resource: textAt(attributes, 'resource'),
    subresource: textAt(attributes, 'subresource'),
    namespace: textAt(attributes, 'namespace'),
    name: textAt(attributes, 'name'),
  };
  return { allowed: mayDo(user, asked) };
}
