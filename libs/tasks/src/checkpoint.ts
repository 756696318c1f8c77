import { createHash, randomUUID } from 'node:crypto'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { CheckpointOptions, Options } from '@flotilla/api/containerd/runc/v1/runc'
import { WriteAction, WriteContentRequest } from '@flotilla/api/containerd/services/content/v1/content'
import type { CheckpointTaskRequest, CheckpointTaskResponse } from '@flotilla/api/containerd/services/tasks/v1/tasks'
import type { Descriptor } from '@flotilla/api/containerd/types/types'
import { Any } from '@flotilla/api/google/protobuf/any'
import { type Call, hasCode, invalidArgument, status, unimplemented } from '@flotilla/rpc'
import type { TasksDeps } from './deps.ts'
import type { Located } from './locate.ts'
import { packDirectory, unpackDirectory } from './tar-directory.ts'

const mediaTypes = {
  checkpoint: 'application/vnd.containerd.container.criu.checkpoint.criu.tar',
  config: 'application/vnd.containerd.container.checkpoint.config.v1+proto',
} as const

/** Largest piece of a blob in one message, bytes. */
const pieceBytes = 1 << 20

function requireLocal(deps: TasksDeps, { nodeName }: Located): void {
  if (nodeName !== deps.localNode)
    throw unimplemented(`checkpoints on node "${nodeName}" through the tasks service of node "${deps.localNode}"`)
}

/**
 * Checkpoints a task. Its files go to content, with the container's spec beside them, unless the options name a
 * directory: then they stay there and nothing is answered.
 */
export async function checkpointTask(
  deps: TasksDeps,
  located: Located,
  request: CheckpointTaskRequest,
  call: Call,
): Promise<CheckpointTaskResponse> {
  const { options } = request
  const kept =
    options && isType(options, 'CheckpointOptions') && CheckpointOptions.decode(options.value).imagePath !== ''
  if (kept) {
    await located.node.checkpoint({ request }, call)
    return { descriptors: [] }
  }
  requireLocal(deps, located)
  const { path } = await located.node.checkpoint({ request }, call)
  try {
    const files = await writeBlob(deps, mediaTypes.checkpoint, packDirectory(path), call)
    const spec = Any.encode(located.container.spec ?? Any.create()).finish()
    const config = await writeBlob(deps, mediaTypes.config, pieces(spec), call)
    return { descriptors: [files, config] }
  } finally {
    await rm(path, { recursive: true, force: true })
  }
}

/**
 * Unpacks a checkpoint to a directory of this node for one use; '' when none is asked for or the options name a
 * directory of their own.
 */
export async function withCheckpoint<T>(
  deps: TasksDeps,
  located: Located,
  checkpoint: Descriptor | undefined,
  options: Any | undefined,
  call: Call,
  use: (path: string) => Promise<T>,
): Promise<T> {
  if (!checkpoint?.digest) return await use('')
  if (options && isType(options, 'Options') && Options.decode(options.value).criuImagePath !== '') return await use('')
  if (checkpoint.mediaType !== mediaTypes.checkpoint)
    throw invalidArgument(`unsupported checkpoint type "${checkpoint.mediaType}"`)
  requireLocal(deps, located)
  const scratch = deps.scratch ?? tmpdir()
  await mkdir(scratch, { recursive: true, mode: 0o700 })
  const path = await mkdtemp(join(scratch, 'flotilla-checkpoint-'))
  try {
    await unpackDirectory(readBlob(deps, checkpoint.digest, call), path)
    return await use(path)
  } finally {
    await rm(path, { recursive: true, force: true })
  }
}

function isType({ typeUrl }: Any, name: string): boolean {
  return typeUrl.split('/').at(-1) === `containerd.runc.v1.${name}`
}

async function* readBlob(deps: TasksDeps, digest: string, call: Call): AsyncGenerator<Uint8Array> {
  for await (const { data } of deps.content.read({ digest, offset: 0, size: 0 }, call)) yield data
}

async function* pieces(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += pieceBytes) yield bytes.subarray(at, at + pieceBytes)
}

async function writeBlob(
  deps: TasksDeps,
  mediaType: string,
  chunks: AsyncIterable<Uint8Array>,
  call: Call,
): Promise<Descriptor> {
  const ref = `checkpoint-${randomUUID()}`
  const hash = createHash('sha256')
  let size = 0
  async function* messages(): AsyncGenerator<WriteContentRequest> {
    for await (const chunk of chunks) {
      for await (const piece of pieces(chunk)) {
        hash.update(piece)
        yield WriteContentRequest.fromPartial({
          action: WriteAction.WRITE,
          ref,
          offset: size,
          data: Buffer.from(piece),
        })
        size += piece.length
      }
    }
    yield WriteContentRequest.fromPartial({ action: WriteAction.COMMIT, ref, offset: size })
  }
  const done = () => ({ mediaType, digest: `sha256:${hash.digest('hex')}`, size, annotations: {} })
  try {
    for await (const _ of deps.content.write(messages(), call));
    return done()
  } catch (error) {
    // The same bytes are there already.
    if (hasCode(error, status.ALREADY_EXISTS)) return done()
    await deps.content.abort({ ref }, call).catch(() => {})
    throw error
  }
}
