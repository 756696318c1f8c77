import { SnapshotsDefinition } from '@flotilla/api/containerd/services/snapshots/v1/snapshots'
import { all, ask, badFilter, type Case, code, kept, loose, tooLong } from './case.ts'

export const snapshotsCases: readonly Case[] = [
  {
    what: 'snapshots without a snapshotter',
    ask: (c, call) => c.of(SnapshotsDefinition).stat({ snapshotter: '', key: 'k' }, call),
    code: code.INVALID_ARGUMENT,
    message: /snapshotter argument missing: invalid argument/,
  },
  {
    what: 'snapshots of an unknown snapshotter',
    ask: (c, call) => c.of(SnapshotsDefinition).stat({ snapshotter: '../x', key: 'k' }, call),
    code: code.INVALID_ARGUMENT,
    message: /snapshotter not loaded: \.\.\/x: invalid argument/,
  },
  {
    what: 'snapshot prepare on an unknown parent',
    ask: (c, call) =>
      c.of(SnapshotsDefinition).prepare({ snapshotter: 'overlayfs', key: 'k', parent: 'p', labels: {} }, call),
    code: code.NOT_FOUND,
    message: /parent snapshot p does not exist: not found/,
  },
  {
    what: 'snapshot prepare on one that is not committed',
    before: (c, call) =>
      c.of(SnapshotsDefinition).prepare({ snapshotter: 'overlayfs', key: 'p', parent: '', labels: kept }, call),
    ask: (c, call) =>
      c.of(SnapshotsDefinition).prepare({ snapshotter: 'overlayfs', key: 'k', parent: 'p', labels: {} }, call),
    code: code.INVALID_ARGUMENT,
    message: /is not committed snapshot: invalid argument/,
  },
  {
    what: 'snapshot commit of a view',
    before: (c, call) =>
      c.of(SnapshotsDefinition).view({ snapshotter: 'overlayfs', key: 'v', parent: '', labels: kept }, call),
    ask: (c, call) =>
      c
        .of(SnapshotsDefinition)
        .commit(loose({ snapshotter: 'overlayfs', key: 'v', name: 'n', labels: {}, parent: '' }), call),
    code: code.FAILED_PRECONDITION,
    message: /is not active: failed precondition/,
  },
  {
    what: 'snapshot with a label that is too long',
    ask: (c, call) =>
      c.of(SnapshotsDefinition).prepare({ snapshotter: 'overlayfs', key: 'k', parent: '', labels: tooLong }, call),
    code: code.INVALID_ARGUMENT,
    message: /label key and value length \(4097 bytes\)/,
  },
  {
    what: 'snapshots prepare of an unknown snapshotter',
    ask: ask(SnapshotsDefinition, 'prepare', { snapshotter: 'zfs2', key: 'k', parent: '', labels: {} }),
    code: code.INVALID_ARGUMENT,
    message: /snapshotter not loaded: zfs2: invalid argument/,
  },
  {
    what: 'snapshots view of an unknown snapshotter',
    ask: ask(SnapshotsDefinition, 'view', { snapshotter: 'zfs2', key: 'k', parent: '', labels: {} }),
    code: code.INVALID_ARGUMENT,
    message: /snapshotter not loaded: zfs2: invalid argument/,
  },
  {
    what: 'snapshots mounts of an unknown snapshotter',
    ask: ask(SnapshotsDefinition, 'mounts', { snapshotter: 'zfs2', key: 'k' }),
    code: code.INVALID_ARGUMENT,
    message: /snapshotter not loaded: zfs2: invalid argument/,
  },
  {
    what: 'snapshots commit of an unknown snapshotter',
    ask: ask(SnapshotsDefinition, 'commit', { snapshotter: 'zfs2', key: 'k', name: 'n', labels: {}, parent: '' }),
    code: code.INVALID_ARGUMENT,
    message: /snapshotter not loaded: zfs2: invalid argument/,
  },
  {
    what: 'snapshots remove of an unknown snapshotter',
    ask: ask(SnapshotsDefinition, 'remove', { snapshotter: 'zfs2', key: 'k' }),
    code: code.INVALID_ARGUMENT,
    message: /snapshotter not loaded: zfs2: invalid argument/,
  },
  {
    what: 'snapshots update of an unknown snapshotter',
    ask: ask(SnapshotsDefinition, 'update', { snapshotter: 'zfs2', info: { name: 'k', labels: {} } }),
    code: code.INVALID_ARGUMENT,
    message: /snapshotter not loaded: zfs2: invalid argument/,
  },
  {
    what: 'snapshots list of an unknown snapshotter',
    ask: ask(SnapshotsDefinition, 'list', { snapshotter: 'zfs2', filters: [] }),
    code: code.INVALID_ARGUMENT,
    message: /snapshotter not loaded: zfs2: invalid argument/,
  },
  {
    what: 'snapshots usage of an unknown snapshotter',
    ask: ask(SnapshotsDefinition, 'usage', { snapshotter: 'zfs2', key: 'k' }),
    code: code.INVALID_ARGUMENT,
    message: /snapshotter not loaded: zfs2: invalid argument/,
  },
  {
    what: 'snapshot mounts of what is not there',
    ask: ask(SnapshotsDefinition, 'mounts', { snapshotter: 'overlayfs', key: 'none' }),
    code: code.NOT_FOUND,
    message: /none.*: not found/,
  },
  {
    what: 'snapshot remove of what is not there',
    ask: ask(SnapshotsDefinition, 'remove', { snapshotter: 'overlayfs', key: 'none' }),
    code: code.NOT_FOUND,
    message: /none.*: not found/,
  },
  {
    what: 'snapshot stat of what is not there',
    ask: ask(SnapshotsDefinition, 'stat', { snapshotter: 'overlayfs', key: 'none' }),
    code: code.NOT_FOUND,
    message: /none.*: not found/,
  },
  {
    what: 'snapshot usage of what is not there',
    ask: ask(SnapshotsDefinition, 'usage', { snapshotter: 'overlayfs', key: 'none' }),
    code: code.NOT_FOUND,
    message: /none.*: not found/,
  },
  {
    what: 'snapshot commit of what is not there',
    ask: ask(SnapshotsDefinition, 'commit', {
      snapshotter: 'overlayfs',
      key: 'none',
      name: 'n',
      labels: {},
      parent: '',
    }),
    code: code.NOT_FOUND,
    // Where nothing was written yet, containerd misses the snapshotter first.
    message: /(none|snapshotter "overlayfs").*: not found/,
  },
  {
    what: 'snapshot update of what is not there',
    ask: ask(SnapshotsDefinition, 'update', { snapshotter: 'overlayfs', info: { name: 'none', labels: {} } }),
    code: code.NOT_FOUND,
    message: /none.*: not found/,
  },
  {
    what: 'snapshot prepare of one that exists',
    before: all(ask(SnapshotsDefinition, 'prepare', { snapshotter: 'overlayfs', key: 'k', parent: '', labels: kept })),
    ask: ask(SnapshotsDefinition, 'prepare', { snapshotter: 'overlayfs', key: 'k', parent: '', labels: kept }),
    code: code.ALREADY_EXISTS,
    message: /snapshot "?\S*k"?: already exists/,
  },
  {
    what: 'snapshot prepare for a target that exists',
    before: all(
      ask(SnapshotsDefinition, 'prepare', { snapshotter: 'overlayfs', key: 'k', parent: '', labels: kept }),
      ask(SnapshotsDefinition, 'commit', { snapshotter: 'overlayfs', key: 'k', name: 'n', labels: kept, parent: '' }),
    ),
    ask: ask(SnapshotsDefinition, 'prepare', {
      snapshotter: 'overlayfs',
      key: 'k2',
      parent: '',
      labels: { 'containerd.io/snapshot.ref': 'n' },
    }),
    code: code.ALREADY_EXISTS,
    message: /target snapshot "n": already exists/,
  },
  {
    what: 'snapshot view of an unknown parent',
    ask: ask(SnapshotsDefinition, 'view', { snapshotter: 'overlayfs', key: 'k', parent: 'p', labels: {} }),
    code: code.NOT_FOUND,
    message: /parent snapshot p does not exist: not found/,
  },
  {
    what: 'snapshot mounts of a committed one',
    before: all(
      ask(SnapshotsDefinition, 'prepare', { snapshotter: 'overlayfs', key: 'k', parent: '', labels: kept }),
      ask(SnapshotsDefinition, 'commit', { snapshotter: 'overlayfs', key: 'k', name: 'n', labels: kept, parent: '' }),
    ),
    ask: ask(SnapshotsDefinition, 'mounts', { snapshotter: 'overlayfs', key: 'n' }),
    code: code.FAILED_PRECONDITION,
    message: /not active or view|failed precondition/,
  },
  {
    what: 'snapshot commit to a name that exists',
    before: all(
      ask(SnapshotsDefinition, 'prepare', { snapshotter: 'overlayfs', key: 'k', parent: '', labels: kept }),
      ask(SnapshotsDefinition, 'commit', { snapshotter: 'overlayfs', key: 'k', name: 'n', labels: kept, parent: '' }),
      ask(SnapshotsDefinition, 'prepare', { snapshotter: 'overlayfs', key: 'k2', parent: '', labels: kept }),
    ),
    ask: ask(SnapshotsDefinition, 'commit', {
      snapshotter: 'overlayfs',
      key: 'k2',
      name: 'n',
      labels: kept,
      parent: '',
    }),
    code: code.ALREADY_EXISTS,
    message: /snapshot "?n"?: already exists/,
  },
  {
    what: 'snapshot commit to its own key',
    before: all(ask(SnapshotsDefinition, 'prepare', { snapshotter: 'overlayfs', key: 'k', parent: '', labels: kept })),
    ask: ask(SnapshotsDefinition, 'commit', {
      snapshotter: 'overlayfs',
      key: 'k',
      name: 'k',
      labels: kept,
      parent: '',
    }),
    code: code.ALREADY_EXISTS,
    message: /already exists/,
  },
  {
    what: 'snapshot remove of a parent',
    before: all(
      ask(SnapshotsDefinition, 'prepare', { snapshotter: 'overlayfs', key: 'k', parent: '', labels: kept }),
      ask(SnapshotsDefinition, 'commit', { snapshotter: 'overlayfs', key: 'k', name: 'n', labels: kept, parent: '' }),
      ask(SnapshotsDefinition, 'prepare', { snapshotter: 'overlayfs', key: 'k2', parent: 'n', labels: kept }),
    ),
    ask: ask(SnapshotsDefinition, 'remove', { snapshotter: 'overlayfs', key: 'n' }),
    code: code.FAILED_PRECONDITION,
    message: /cannot remove snapshot with child: failed precondition/,
  },
  {
    what: 'snapshot update without a name',
    ask: ask(SnapshotsDefinition, 'update', { snapshotter: 'overlayfs', info: { name: '', labels: {} } }),
    code: code.INVALID_ARGUMENT,
    message: /invalid argument/,
  },
  {
    what: 'snapshot update of nothing',
    ask: ask(SnapshotsDefinition, 'update', { snapshotter: 'overlayfs' }),
    code: code.INVALID_ARGUMENT,
    message: /invalid argument/,
    ours: 'containerd goes down with it',
  },
  {
    what: 'snapshot update of a path that cannot change',
    before: all(ask(SnapshotsDefinition, 'prepare', { snapshotter: 'overlayfs', key: 'k', parent: '', labels: kept })),
    ask: ask(SnapshotsDefinition, 'update', {
      snapshotter: 'overlayfs',
      info: { name: 'k', labels: { a: 'b' } },
      updateMask: ['labels.a', 'parent'],
    }),
    code: code.INVALID_ARGUMENT,
    message: /cannot update "parent" field on snapshot "k": invalid argument/,
  },
  {
    what: 'snapshot update with a label that is too long',
    before: all(ask(SnapshotsDefinition, 'prepare', { snapshotter: 'overlayfs', key: 'k', parent: '', labels: kept })),
    ask: ask(SnapshotsDefinition, 'update', { snapshotter: 'overlayfs', info: { name: 'k', labels: tooLong } }),
    code: code.INVALID_ARGUMENT,
    message: /label key and value length \(4097 bytes\)/,
  },
  {
    what: 'snapshot prepare without a key',
    ask: ask(SnapshotsDefinition, 'prepare', { snapshotter: 'overlayfs', key: '', parent: '', labels: {} }),
    code: code.INVALID_ARGUMENT,
    message: /./,
    ours: 'Unknown or NotFound there',
  },
  {
    what: 'snapshot stat without a key',
    ask: ask(SnapshotsDefinition, 'stat', { snapshotter: 'overlayfs', key: '' }),
    code: code.NOT_FOUND,
    message: /snapshot .*not (exist|found)/,
  },
  {
    what: 'snapshot remove without a key',
    ask: ask(SnapshotsDefinition, 'remove', { snapshotter: 'overlayfs', key: '' }),
    code: code.NOT_FOUND,
    message: /snapshot .*not (exist|found)/,
  },
  {
    what: 'snapshot mounts without a key',
    ask: ask(SnapshotsDefinition, 'mounts', { snapshotter: 'overlayfs', key: '' }),
    code: code.NOT_FOUND,
    message: /snapshot .*not (exist|found)/,
  },
  {
    what: 'snapshot list with a filter that does not parse',
    ask: ask(SnapshotsDefinition, 'list', { snapshotter: 'overlayfs', filters: [badFilter] }),
    code: code.INVALID_ARGUMENT,
    message: /parse error/,
    ours: 'Unknown there',
  },
  {
    what: 'snapshot cleanup',
    ask: ask(SnapshotsDefinition, 'cleanup', { snapshotter: 'overlayfs' }),
    code: code.UNIMPLEMENTED,
    message: /snapshotter does not implement Cleanup method: not implemented/,
  },
]
