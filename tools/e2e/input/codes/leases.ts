import { ImagesDefinition } from '@flotilla/api/containerd/services/images/v1/images'
import { LeasesDefinition } from '@flotilla/api/containerd/services/leases/v1/leases'
import { SnapshotsDefinition } from '@flotilla/api/containerd/services/snapshots/v1/snapshots'
import { callIn } from '../../harness/clients.ts'
import { all, ask, badFilter, type Case, code, digest, image } from './case.ts'

export const leasesCases: readonly Case[] = [
  {
    what: 'lease delete of what is not there',
    ask: (c, call) => c.of(LeasesDefinition).delete({ id: 'none', sync: false }, call),
    code: code.NOT_FOUND,
    message: /lease "none": not found/,
  },
  {
    what: 'lease resource of an unknown type',
    before: (c, call) => c.of(LeasesDefinition).create({ id: 'l', labels: {} }, call),
    ask: (c, call) => c.of(LeasesDefinition).addResource({ id: 'l', resource: { id: 'x', type: 'boats' } }, call),
    code: code.UNIMPLEMENTED,
    message: /resource type boats not supported yet: not implemented/,
  },
  {
    what: 'lease resource that is no digest',
    before: (c, call) => c.of(LeasesDefinition).create({ id: 'l', labels: {} }, call),
    ask: (c, call) => c.of(LeasesDefinition).addResource({ id: 'l', resource: { id: 'x', type: 'content' } }, call),
    code: code.INVALID_ARGUMENT,
    message: /invalid content resource id x/,
  },
  {
    what: 'a write under a lease that is not there',
    ask: (c, call) =>
      c
        .of(SnapshotsDefinition)
        .prepare(
          { snapshotter: 'overlayfs', key: 'k', parent: '', labels: {} },
          callIn(call.namespace ?? '', { lease: 'no-lease' }),
        ),
    code: code.NOT_FOUND,
    message: /lease does not exist: not found/,
  },
  {
    what: 'lease create of one that exists',
    before: all(ask(LeasesDefinition, 'create', { id: 'l', labels: {} })),
    ask: ask(LeasesDefinition, 'create', { id: 'l', labels: {} }),
    code: code.ALREADY_EXISTS,
    message: /^lease "l": already exists$/,
  },
  {
    what: 'lease addResource of what is not there',
    ask: ask(LeasesDefinition, 'addResource', { id: 'none', resource: { id: 'x', type: 'images' } }),
    code: code.NOT_FOUND,
    message: /lease "none": not found/,
  },
  {
    what: 'lease deleteResource of what is not there',
    ask: ask(LeasesDefinition, 'deleteResource', { id: 'none', resource: { id: 'x', type: 'images' } }),
    code: code.NOT_FOUND,
    message: /lease "none": not found/,
  },
  {
    what: 'lease listResources of what is not there',
    ask: ask(LeasesDefinition, 'listResources', { id: 'none' }),
    code: code.NOT_FOUND,
    message: /lease "none": not found/,
  },
  {
    what: 'lease resource of the type snapshots',
    before: all(ask(LeasesDefinition, 'create', { id: 'l', labels: {} })),
    ask: ask(LeasesDefinition, 'addResource', { id: 'l', resource: { id: digest, type: 'snapshots' } }),
    code: code.INVALID_ARGUMENT,
    message: /invalid snapshot resource type/,
  },
  {
    what: 'lease resource of the type content/x',
    before: all(ask(LeasesDefinition, 'create', { id: 'l', labels: {} })),
    ask: ask(LeasesDefinition, 'addResource', { id: 'l', resource: { id: digest, type: 'content/x' } }),
    code: code.INVALID_ARGUMENT,
    message: /invalid resource type/,
  },
  {
    what: 'lease resource of the type images/x',
    before: all(ask(LeasesDefinition, 'create', { id: 'l', labels: {} })),
    ask: ask(LeasesDefinition, 'addResource', { id: 'l', resource: { id: digest, type: 'images/x' } }),
    code: code.INVALID_ARGUMENT,
    message: /invalid resource type/,
  },
  {
    what: 'lease resource of the type ingests/x',
    before: all(ask(LeasesDefinition, 'create', { id: 'l', labels: {} })),
    ask: ask(LeasesDefinition, 'addResource', { id: 'l', resource: { id: digest, type: 'ingests/x' } }),
    code: code.INVALID_ARGUMENT,
    message: /invalid resource type/,
  },
  {
    what: 'lease resource that is missing',
    before: all(ask(LeasesDefinition, 'create', { id: 'l', labels: {} })),
    ask: ask(LeasesDefinition, 'addResource', { id: 'l' }),
    code: code.UNIMPLEMENTED,
    message: /resource type/,
    ours: 'containerd goes down with it',
  },
  {
    what: 'lease list with a filter that does not parse',
    ask: ask(LeasesDefinition, 'list', { filters: [badFilter] }),
    code: code.INVALID_ARGUMENT,
    message: /filters: parse error/,
  },
  {
    what: 'image create that expires, under an unknown lease',
    ask: ask(ImagesDefinition, 'create', image({ labels: { 'containerd.io/gc.expire': '2999-01-01T00:00:00Z' } }), {
      lease: 'no-lease',
    }),
    code: code.NOT_FOUND,
    message: /lease does not exist: not found/,
    ours: 'expiring images came with 1.7',
  },
]
