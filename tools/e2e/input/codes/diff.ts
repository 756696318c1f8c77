import { DiffDefinition } from '@flotilla/api/containerd/services/diff/v1/diff'
import { all, ask, blob, type Case, code, digest, loose, target } from './case.ts'

export const diffCases: readonly Case[] = [
  {
    what: 'diff apply of a blob that is not there',
    ask: (c, call) =>
      c.of(DiffDefinition).apply(
        loose({
          diff: { mediaType: 'application/vnd.oci.image.layer.v1.tar', digest, size: 5, annotations: {} },
          mounts: [{ type: 'bind', source: '/nonexistent', target: '', options: ['rbind'] }],
          payloads: {},
        }),
        call,
      ),
    code: code.NOT_FOUND,
    message: new RegExp(`content digest ${digest}: not found`),
  },
  {
    what: 'diff in a media type that nobody writes',
    ask: (c, call) =>
      c.of(DiffDefinition).diff(loose({ left: [], right: [], mediaType: 'text/plain', ref: '', labels: {} }), call),
    code: code.UNIMPLEMENTED,
    message: /unsupported diff media type: text\/plain: not implemented/,
  },
  {
    what: 'diff apply of an unknown media type',
    before: all(blob.put),
    ask: ask(DiffDefinition, 'apply', {
      diff: { ...target, mediaType: 'text/plain', digest: blob.digest },
      mounts: [{ type: 'bind', source: '/nonexistent', target: '', options: ['rbind'] }],
      payloads: {},
      syncFs: false,
    }),
    code: code.UNKNOWN,
    message: /no processor for media-type/,
  },
  {
    what: 'diff apply of nothing',
    ask: ask(DiffDefinition, 'apply', { mounts: [], payloads: {}, syncFs: false }),
    code: code.INVALID_ARGUMENT,
    message: /./,
    ours: 'containerd goes down with it',
  },
  {
    what: 'diff in the media type application/vnd.docker.image.rootfs.diff.tar.gzip',
    ask: ask(DiffDefinition, 'diff', {
      left: [],
      right: [],
      mediaType: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
      ref: '',
      labels: {},
    }),
    code: code.UNIMPLEMENTED,
    message: /unsupported diff media type: .*: not implemented/,
  },
  {
    what: 'diff in the media type application/vnd.oci.image.layer.v1.tar+xz',
    ask: ask(DiffDefinition, 'diff', {
      left: [],
      right: [],
      mediaType: 'application/vnd.oci.image.layer.v1.tar+xz',
      ref: '',
      labels: {},
    }),
    code: code.UNIMPLEMENTED,
    message: /unsupported diff media type: .*: not implemented/,
  },
]
