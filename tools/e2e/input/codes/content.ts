import { ContentDefinition, WriteAction } from '@flotilla/api/containerd/services/content/v1/content'
import { callIn } from '../../harness/clients.ts'
import { all, ask, badFilter, blob, type Case, code, digest, loose, messages, tooLong } from './case.ts'

export const contentCases: readonly Case[] = [
  {
    what: 'content info of no digest',
    ask: (c, call) => c.of(ContentDefinition).info(loose({ digest: 'nothing' }), call),
    code: code.INVALID_ARGUMENT,
    message: /"nothing" failed validation/,
  },
  {
    what: 'content info of an unknown algorithm',
    ask: (c, call) => c.of(ContentDefinition).info(loose({ digest: 'md5:d41d8cd98f00b204e9800998ecf8427e' }), call),
    code: code.INVALID_ARGUMENT,
    message: /failed validation/,
  },
  {
    what: 'content info of what is not there',
    ask: (c, call) => c.of(ContentDefinition).info(loose({ digest }), call),
    code: code.NOT_FOUND,
    message: new RegExp(`content digest ${digest}: not found`),
  },
  {
    what: 'content delete of no digest',
    ask: (c, call) => c.of(ContentDefinition).delete(loose({ digest: 'sha256:abc' }), call),
    code: code.INVALID_ARGUMENT,
    message: /invalid checksum digest length/,
  },
  {
    what: 'content status of an unknown ref',
    ask: (c, call) => c.of(ContentDefinition).status(loose({ ref: 'unknown-ref' }), call),
    code: code.NOT_FOUND,
    message: /unknown-ref/,
  },
  {
    what: 'content abort of an unknown ref',
    ask: (c, call) => c.of(ContentDefinition).abort(loose({ ref: 'unknown-ref' }), call),
    code: code.NOT_FOUND,
    message: /unknown-ref/,
  },
  {
    what: 'content write without a ref',
    ask: (c, call) => c.of(ContentDefinition).write(messages({}), call),
    code: code.INVALID_ARGUMENT,
    message: /first message must have a reference/,
  },
  {
    what: 'content write at a wrong offset',
    ask: (c, call) =>
      c
        .of(ContentDefinition)
        .write(
          messages(
            { ref: 'r', action: WriteAction.WRITE, data: Buffer.from('abc') },
            { ref: 'r', action: WriteAction.WRITE, data: Buffer.from('abc'), offset: 5 },
          ),
          call,
        ),
    code: code.OUT_OF_RANGE,
    message: /write @5 must occur at current offset 3/,
  },
  {
    what: 'content commit of another size',
    ask: (c, call) =>
      c
        .of(ContentDefinition)
        .write(messages({ ref: 'r', action: WriteAction.COMMIT, data: Buffer.from('abc'), total: 4 }), call),
    code: code.FAILED_PRECONDITION,
    message: /failed size validation: 3 != 4: failed precondition/,
  },
  {
    what: 'content commit of another digest',
    ask: (c, call) =>
      c
        .of(ContentDefinition)
        .write(messages({ ref: 'r', action: WriteAction.COMMIT, data: Buffer.from('abc'), expected: digest }), call),
    code: code.FAILED_PRECONDITION,
    message: new RegExp(`unexpected commit digest sha256:ba7816bf\\w+, expected ${digest}: failed precondition`),
  },
  {
    what: 'content commit with a label that is too long',
    ask: (c, call) =>
      c
        .of(ContentDefinition)
        .write(messages({ ref: 'r', action: WriteAction.COMMIT, data: Buffer.from('abc'), labels: tooLong }), call),
    code: code.INVALID_ARGUMENT,
    message: /label key and value length \(4097 bytes\) greater than maximum size \(4096 bytes\), key: k{64}/,
  },
  {
    what: 'content write that expects no digest',
    ask: (c, call) =>
      c
        .of(ContentDefinition)
        .write(messages({ ref: 'r', action: WriteAction.COMMIT, data: Buffer.from('abc'), expected: 'nothing' }), call),
    code: code.INVALID_ARGUMENT,
    message: /"nothing" failed validation/,
    ours: 'containerd itself fails here, or tells it by another code',
  },
  {
    what: 'content list with a filter that does not parse',
    ask: (c, call) => c.of(ContentDefinition).list(loose({ filters: [badFilter] }), call),
    code: code.INVALID_ARGUMENT,
    message: /filters: parse error/,
  },
  {
    what: 'content info of a digest with an odd letter',
    ask: ask(ContentDefinition, 'info', { digest: `sha256:${'G'.repeat(64)}` }),
    code: code.INVALID_ARGUMENT,
    message: /invalid checksum digest (format|length)|failed validation/,
  },
  {
    what: 'content info of a digest that is too long',
    ask: ask(ContentDefinition, 'info', { digest: `sha256:${'a'.repeat(65)}` }),
    code: code.INVALID_ARGUMENT,
    message: /invalid checksum digest (format|length)|failed validation/,
  },
  {
    what: 'content info of the digest of a directory',
    ask: ask(ContentDefinition, 'info', { digest: 'sha256:../../../etc/passwd' }),
    code: code.INVALID_ARGUMENT,
    message: /invalid checksum digest (format|length)|failed validation/,
  },
  {
    what: 'content info of an empty digest',
    ask: ask(ContentDefinition, 'info', { digest: '' }),
    code: code.INVALID_ARGUMENT,
    message: /invalid checksum digest (format|length)|failed validation/,
  },
  {
    what: 'content delete of a digest with an odd letter',
    ask: ask(ContentDefinition, 'delete', { digest: `sha256:${'G'.repeat(64)}` }),
    code: code.INVALID_ARGUMENT,
    message: /invalid checksum digest (format|length)|failed validation/,
  },
  {
    what: 'content delete of a digest that is too long',
    ask: ask(ContentDefinition, 'delete', { digest: `sha256:${'a'.repeat(65)}` }),
    code: code.INVALID_ARGUMENT,
    message: /invalid checksum digest (format|length)|failed validation/,
  },
  {
    what: 'content delete of the digest of a directory',
    ask: ask(ContentDefinition, 'delete', { digest: 'sha256:../../../etc/passwd' }),
    code: code.INVALID_ARGUMENT,
    message: /invalid checksum digest (format|length)|failed validation/,
  },
  {
    what: 'content delete of an empty digest',
    ask: ask(ContentDefinition, 'delete', { digest: '' }),
    code: code.INVALID_ARGUMENT,
    message: /invalid checksum digest (format|length)|failed validation/,
  },
  {
    what: 'content read of a digest with an odd letter',
    ask: ask(ContentDefinition, 'read', { digest: `sha256:${'G'.repeat(64)}`, offset: 0, size: 0 }),
    code: code.INVALID_ARGUMENT,
    message: /invalid checksum digest (format|length)|failed validation/,
  },
  {
    what: 'content read of a digest that is too long',
    ask: ask(ContentDefinition, 'read', { digest: `sha256:${'a'.repeat(65)}`, offset: 0, size: 0 }),
    code: code.INVALID_ARGUMENT,
    message: /invalid checksum digest (format|length)|failed validation/,
  },
  {
    what: 'content read of the digest of a directory',
    ask: ask(ContentDefinition, 'read', { digest: 'sha256:../../../etc/passwd', offset: 0, size: 0 }),
    code: code.INVALID_ARGUMENT,
    message: /invalid checksum digest (format|length)|failed validation/,
  },
  {
    what: 'content read of an empty digest',
    ask: ask(ContentDefinition, 'read', { digest: '', offset: 0, size: 0 }),
    code: code.INVALID_ARGUMENT,
    message: /invalid checksum digest (format|length)|failed validation/,
  },
  {
    what: 'content update of no digest',
    ask: ask(ContentDefinition, 'update', { info: { digest: 'x', labels: {} } }),
    code: code.INVALID_ARGUMENT,
    message: /"x" failed validation|invalid checksum/,
  },
  {
    what: 'content update of what is not there',
    ask: ask(ContentDefinition, 'update', { info: { digest, labels: {} } }),
    code: code.NOT_FOUND,
    message: /content digest sha256:a{64}: not found/,
  },
  {
    what: 'content update of a path that cannot change',
    before: all(blob.put),
    ask: ask(ContentDefinition, 'update', {
      info: { digest: blob.digest, labels: {} },
      updateMask: ['labels.a', 'size'],
    }),
    code: code.INVALID_ARGUMENT,
    message: /cannot update "size" field on content info ".*": invalid argument/,
  },
  {
    what: 'content update with a label that is too long',
    before: all(blob.put),
    ask: ask(ContentDefinition, 'update', { info: { digest: blob.digest, labels: tooLong } }),
    code: code.INVALID_ARGUMENT,
    message: /info\.Labels: label key and value length \(4097 bytes\)/,
  },
  {
    what: 'content update of nothing',
    ask: ask(ContentDefinition, 'update', {}),
    code: code.INVALID_ARGUMENT,
    message: /./,
    ours: 'containerd goes down with it',
  },
  {
    what: 'content read of what is not there',
    ask: ask(ContentDefinition, 'read', { digest, offset: 0, size: 0 }),
    code: code.NOT_FOUND,
    message: /content digest sha256:a{64}: not found/,
  },
  {
    what: 'content read past the end',
    before: all(blob.put),
    ask: ask(ContentDefinition, 'read', { digest: blob.digest, offset: 6, size: 0 }),
    code: code.OUT_OF_RANGE,
    message: /read past object length 5 bytes/,
  },
  {
    what: 'content delete of what is not there',
    ask: ask(ContentDefinition, 'delete', { digest }),
    code: code.NOT_FOUND,
    message: /content digest sha256:a{64}: not found/,
  },
  {
    what: 'content write of what is there',
    before: all(blob.put),
    ask: (c, call) => c.of(ContentDefinition).write(messages({ ref: 'again', expected: blob.digest }), call),
    code: code.ALREADY_EXISTS,
    message: /content sha256:2cf24d\w+: already exists/,
  },
  {
    what: 'content commit of what is there',
    before: all(blob.put),
    ask: blob.put,
    code: code.ALREADY_EXISTS,
    message: /content sha256:2cf24d\w+: already exists/,
  },
  {
    what: 'content list of ingests with a filter that does not parse',
    ask: ask(ContentDefinition, 'listStatuses', { filters: [badFilter] }),
    code: code.INVALID_ARGUMENT,
    message: /filters: parse error/,
  },
  {
    what: 'content write under an unknown lease',
    ask: (c, call) =>
      c.of(ContentDefinition).write(messages({ ref: 'r' }), callIn(call.namespace ?? '', { lease: 'no-lease' })),
    code: code.NOT_FOUND,
    message: /lease does not exist: not found/,
  },
]
