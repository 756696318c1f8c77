import { ContainersDefinition } from '@flotilla/api/containerd/services/containers/v1/containers'
import { all, ask, badFilter, type Case, code, container, loose, tooLong } from './case.ts'

export const containersCases: readonly Case[] = [
  {
    what: 'container create with a bad id',
    ask: (c, call) => c.of(ContainersDefinition).create(loose(container({ id: '../../etc' })), call),
    code: code.INVALID_ARGUMENT,
    message: /create container failed validation: container\.ID: identifier "\.\.\/\.\.\/etc" must match/,
  },
  {
    what: 'container create with an id that is too long',
    ask: (c, call) => c.of(ContainersDefinition).create(loose(container({ id: 'c'.repeat(77) })), call),
    code: code.INVALID_ARGUMENT,
    message: /identifier "c{77}" greater than maximum length \(76 characters\)/,
  },
  {
    what: 'container create without a runtime',
    ask: (c, call) => c.of(ContainersDefinition).create(loose(container({ runtime: { name: '' } })), call),
    code: code.INVALID_ARGUMENT,
    message: /container\.Runtime\.Name must be set/,
  },
  {
    what: 'container create with a snapshot but no snapshotter',
    ask: (c, call) => c.of(ContainersDefinition).create(loose(container({ snapshotKey: 'k' })), call),
    code: code.INVALID_ARGUMENT,
    message: /container\.Snapshotter must be set if container\.SnapshotKey is set/,
  },
  {
    what: 'container create with an empty extension key',
    ask: (c, call) =>
      c
        .of(ContainersDefinition)
        .create(loose(container({ extensions: { '': { typeUrl: 't', value: Buffer.from('v') } } })), call),
    code: code.INVALID_ARGUMENT,
    message: /container\.Extension keys must not be zero-length/,
  },
  {
    what: 'container get of what is not there',
    ask: (c, call) => c.of(ContainersDefinition).get({ id: 'none' }, call),
    code: code.NOT_FOUND,
    message: /^container "none" in namespace "e2e-\w+": not found$/,
  },
  {
    what: 'container delete of what is not there',
    ask: (c, call) => c.of(ContainersDefinition).delete({ id: 'none' }, call),
    code: code.NOT_FOUND,
    message: /none.*: not found$/,
  },
  {
    what: 'container update without an id',
    ask: (c, call) => c.of(ContainersDefinition).update(loose(container({ id: '' })), call),
    code: code.INVALID_ARGUMENT,
    message: /Container\.ID required/,
  },
  {
    what: 'container create without an id',
    ask: ask(ContainersDefinition, 'create', container({ id: '' })),
    code: code.INVALID_ARGUMENT,
    message: /container\.ID|identifier/,
  },
  {
    what: 'container create with an id with a leading dot',
    ask: ask(ContainersDefinition, 'create', container({ id: '.c' })),
    code: code.INVALID_ARGUMENT,
    message: /container\.ID: identifier ".*" must match/,
  },
  {
    what: 'container create with an id with a trailing hyphen',
    ask: ask(ContainersDefinition, 'create', container({ id: 'c-' })),
    code: code.INVALID_ARGUMENT,
    message: /container\.ID: identifier ".*" must match/,
  },
  {
    what: 'container create with an id with a doubled underscore',
    ask: ask(ContainersDefinition, 'create', container({ id: 'c__c' })),
    code: code.INVALID_ARGUMENT,
    message: /container\.ID: identifier ".*" must match/,
  },
  {
    what: 'container create with an id with a space',
    ask: ask(ContainersDefinition, 'create', container({ id: 'c c' })),
    code: code.INVALID_ARGUMENT,
    message: /container\.ID: identifier ".*" must match/,
  },
  {
    what: 'container create with an id with a line break',
    ask: ask(ContainersDefinition, 'create', container({ id: 'c\nc' })),
    code: code.INVALID_ARGUMENT,
    message: /container\.ID: identifier "c\\nc" must match/,
  },
  {
    what: 'container create with an id with a letter that is none of ASCII',
    ask: ask(ContainersDefinition, 'create', container({ id: 'ç' })),
    code: code.INVALID_ARGUMENT,
    message: /container\.ID: identifier ".*" must match/,
  },
  {
    what: 'container create with a label that is too long',
    ask: ask(ContainersDefinition, 'create', container({ labels: tooLong })),
    code: code.INVALID_ARGUMENT,
    message:
      /containers\.Labels: label key and value length \(4097 bytes\) greater than maximum size \(4096 bytes\), key: k{64}/,
  },
  {
    what: 'container create of one that exists',
    before: all(ask(ContainersDefinition, 'create', container({}))),
    ask: ask(ContainersDefinition, 'create', container({})),
    code: code.ALREADY_EXISTS,
    message: /^container "c": already exists$/,
  },
  {
    what: 'container create of nothing',
    ask: ask(ContainersDefinition, 'create', {}),
    code: code.INVALID_ARGUMENT,
    message: /./,
    ours: 'containerd goes down with it',
  },
  {
    what: 'container update of what is not there',
    ask: ask(ContainersDefinition, 'update', container({ id: 'none' })),
    code: code.NOT_FOUND,
    message: /container "none".*: not found/,
  },
  {
    what: 'container update of a path that cannot change',
    before: all(ask(ContainersDefinition, 'create', container({ spec: { typeUrl: 't', value: Buffer.from('{}') } }))),
    ask: ask(ContainersDefinition, 'update', {
      ...container({ labels: { a: 'b' } }),
      updateMask: ['labels.a', 'snapshotter'],
    }),
    code: code.INVALID_ARGUMENT,
    message: /cannot update "snapshotter" field on "c": invalid argument/,
  },
  {
    what: 'container update to another snapshotter',
    before: all(ask(ContainersDefinition, 'create', container({ spec: { typeUrl: 't', value: Buffer.from('{}') } }))),
    ask: ask(
      ContainersDefinition,
      'update',
      container({ snapshotter: 'native', spec: { typeUrl: 't', value: Buffer.from('{}') } }),
    ),
    code: code.INVALID_ARGUMENT,
    message: /container\.Snapshotter field is immutable/,
  },
  {
    what: 'container update to another runtime',
    before: all(ask(ContainersDefinition, 'create', container({ spec: { typeUrl: 't', value: Buffer.from('{}') } }))),
    ask: ask(
      ContainersDefinition,
      'update',
      container({ runtime: { name: 'other' }, spec: { typeUrl: 't', value: Buffer.from('{}') } }),
    ),
    code: code.INVALID_ARGUMENT,
    message: /container\.Runtime\.Name field is immutable/,
  },
  {
    what: 'container update with a label that is too long',
    before: all(ask(ContainersDefinition, 'create', container({ spec: { typeUrl: 't', value: Buffer.from('{}') } }))),
    ask: ask(ContainersDefinition, 'update', { ...container({ labels: tooLong }), updateMask: ['labels'] }),
    code: code.INVALID_ARGUMENT,
    message: /containers\.Labels: label key and value length \(4097 bytes\)/,
  },
  {
    what: 'container update of nothing',
    ask: ask(ContainersDefinition, 'update', {}),
    code: code.INVALID_ARGUMENT,
    message: /./,
    ours: 'containerd goes down with it',
  },
  {
    what: 'container list with a filter that does not parse',
    ask: ask(ContainersDefinition, 'list', { filters: [badFilter] }),
    code: code.INVALID_ARGUMENT,
    message: /filters: parse error/,
  },
  {
    what: 'container stream with a filter that does not parse',
    ask: ask(ContainersDefinition, 'listStream', { filters: [badFilter] }),
    code: code.INVALID_ARGUMENT,
    message: /filters: parse error/,
  },
]
