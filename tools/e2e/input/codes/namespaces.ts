import { ContainersDefinition } from '@flotilla/api/containerd/services/containers/v1/containers'
import { ImagesDefinition } from '@flotilla/api/containerd/services/images/v1/images'
import { NamespacesDefinition } from '@flotilla/api/containerd/services/namespaces/v1/namespaces'
import { SnapshotsDefinition } from '@flotilla/api/containerd/services/snapshots/v1/snapshots'
import { all, ask, blob, type Case, code, container, image, kept, loose, tooLong } from './case.ts'

export const namespacesCases: readonly Case[] = [
  {
    what: 'namespace create of no identifier',
    ask: (c, call) => c.of(NamespacesDefinition).create(loose({ namespace: { name: 'a//b', labels: {} } }), call),
    code: code.INVALID_ARGUMENT,
    message: /identifier "a\/\/b" must match/,
  },
  {
    what: 'namespace delete of what is not there',
    ask: (c, call) => c.of(NamespacesDefinition).delete({ name: 'never-there' }, call),
    code: code.NOT_FOUND,
    message: /namespace "never-there": not found/,
  },
  {
    what: 'namespace create without a name',
    ask: ask(NamespacesDefinition, 'create', { namespace: { name: '', labels: {} } }),
    code: code.INVALID_ARGUMENT,
    message: /identifier/,
  },
  {
    what: 'namespace create of a name that is too long',
    ask: ask(NamespacesDefinition, 'create', { namespace: { name: 'n'.repeat(77), labels: {} } }),
    code: code.INVALID_ARGUMENT,
    message: /greater than maximum length \(76 characters\)/,
  },
  {
    what: 'namespace create with a label that is too long',
    ask: ask(NamespacesDefinition, 'create', { namespace: { name: 'never-there', labels: tooLong } }),
    code: code.INVALID_ARGUMENT,
    message: /namespace\.Labels: label key and value length \(4097 bytes\)/,
  },
  {
    what: 'namespace create of nothing',
    ask: ask(NamespacesDefinition, 'create', {}),
    code: code.INVALID_ARGUMENT,
    message: /identifier/,
    ours: 'containerd goes down with it',
  },
  {
    what: 'namespace create of one that exists',
    before: (c, call) =>
      c.of(NamespacesDefinition).create({ namespace: { name: call.namespace ?? '', labels: {} } }, call),
    ask: (c, call) =>
      c.of(NamespacesDefinition).create({ namespace: { name: call.namespace ?? '', labels: {} } }, call),
    code: code.ALREADY_EXISTS,
    message: /^namespace "e2e-\w+": already exists$/,
  },
  {
    what: 'namespace update of the path labels',
    before: (c, call) =>
      c.of(NamespacesDefinition).create({ namespace: { name: call.namespace ?? '', labels: {} } }, call),
    ask: (c, call) =>
      c
        .of(NamespacesDefinition)
        .update({ namespace: { name: call.namespace ?? '', labels: { a: 'b' } }, updateMask: ['labels'] }, call),
    code: code.INVALID_ARGUMENT,
    message: /cannot update "labels" field/,
  },
  {
    what: 'namespace update of the path name',
    before: (c, call) =>
      c.of(NamespacesDefinition).create({ namespace: { name: call.namespace ?? '', labels: {} } }, call),
    ask: (c, call) =>
      c
        .of(NamespacesDefinition)
        .update({ namespace: { name: call.namespace ?? '', labels: { a: 'b' } }, updateMask: ['name'] }, call),
    code: code.INVALID_ARGUMENT,
    message: /cannot update "name" field/,
  },
  {
    what: 'namespace update of the path colour',
    before: (c, call) =>
      c.of(NamespacesDefinition).create({ namespace: { name: call.namespace ?? '', labels: {} } }, call),
    ask: (c, call) =>
      c
        .of(NamespacesDefinition)
        .update({ namespace: { name: call.namespace ?? '', labels: { a: 'b' } }, updateMask: ['colour'] }, call),
    code: code.INVALID_ARGUMENT,
    message: /cannot update "colour" field/,
  },
  {
    what: 'namespace update with a label that is too long',
    ask: (c, call) =>
      c
        .of(NamespacesDefinition)
        .update({ namespace: { name: call.namespace ?? '', labels: tooLong }, updateMask: undefined }, call),
    code: code.INVALID_ARGUMENT,
    message: /label key and value length \(4097 bytes\)/,
    ours: 'Unknown there',
  },
  {
    what: 'namespace delete of one that has something',
    before: all(
      blob.put,
      ask(ImagesDefinition, 'create', image({})),
      ask(ContainersDefinition, 'create', container({})),
      ask(SnapshotsDefinition, 'prepare', { snapshotter: 'overlayfs', key: 'k', parent: '', labels: kept }),
    ),
    ask: (c, call) => c.of(NamespacesDefinition).delete({ name: call.namespace ?? '' }, call),
    code: code.FAILED_PRECONDITION,
    message:
      /^namespace "e2e-\w+" must be empty, but it still has images, blobs, containers, snapshots on "overlayfs" snapshotter: failed precondition$/,
  },
]
