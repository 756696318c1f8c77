import { randomUUID } from 'node:crypto'
import { type FileHandle, open, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { WriteAction } from '@flotilla/api/containerd/services/content/v1/content'
import { type DiffRequest, DiffResponse } from '@flotilla/api/containerd/services/diff/v1/diff'
import { ContentWriter } from '@flotilla/content-client'
import type { CompareResult } from '@flotilla/layers'
import { withTempMount } from '@flotilla/linux'
import type { Compression } from '@flotilla/oci'
import { type Call, dataLoss, hasCode, requireNamespace, status, unimplemented, withCall } from '@flotilla/rpc'
import type { DiffServiceDeps } from './deps.ts'
import { ociLayer, ociLayerGzip, ociLayerZstd } from './media-types.ts'
import { addedDirectory } from './targets.ts'

const uncompressedLabel = 'containerd.io/uncompressed'

const compressions: Readonly<Record<string, Compression>> = {
  [ociLayer]: 'none',
  [ociLayerGzip]: 'gzip',
  [ociLayerZstd]: 'zstd',
}

/** Diff.Diff: writes the layer that leads from `left` to `right` into content. */
export async function compare(deps: DiffServiceDeps, request: DiffRequest, call: Call): Promise<DiffResponse> {
  requireNamespace(call)
  const mediaType = request.mediaType === '' ? ociLayerGzip : request.mediaType
  const compression = Object.hasOwn(compressions, mediaType) ? compressions[mediaType] : undefined
  if (compression === undefined) throw unimplemented(`unsupported diff media type: ${mediaType}`)
  const ref = request.ref === '' ? `diff-${randomUUID()}` : request.ref
  const outputPath = join(deps.tmpDir, `layer-${randomUUID()}`)
  try {
    await using writer = new ContentWriter(deps.content, call)
    // Takes the ingest before the work is done: another writer is told of at once.
    await writer.send({ action: WriteAction.STAT, ref })
    const layer = await compareMounts(deps, request, compression, outputPath, call)
    const labels =
      compression === 'none' ? request.labels : { ...request.labels, [uncompressedLabel]: layer.uncompressedDigest }
    await using file = await open(outputPath, 'r')
    await store(writer, ref, file, layer, labels)
    if (compression !== 'none') await ensureLabel(deps, layer, call)
    return DiffResponse.fromPartial({ diff: { mediaType, digest: layer.digest, size: layer.size } })
  } catch (error) {
    if (request.ref === '') await abandon(deps, ref, call)
    throw error
  } finally {
    await rm(outputPath, { force: true })
  }
}

async function compareMounts(
  deps: DiffServiceDeps,
  { left, right, sourceDateEpoch }: DiffRequest,
  compression: Compression,
  outputPath: string,
  { signal }: Call,
): Promise<CompareResult> {
  const options = { readonly: true, tmpDir: deps.tmpDir }
  const latest = sourceDateEpoch === undefined ? {} : { sourceDateEpoch: sourceDateEpoch.seconds }
  return await withTempMount(left, options, async (lower) => {
    const common = { lower, compression, outputPath, signal, ...latest }
    const added = addedDirectory(left, right)
    const quick = added === undefined ? undefined : await deps.pool.compare({ ...common, ...added })
    if (quick !== undefined) return quick
    return await withTempMount(right, options, async (upper) => {
      const result = await deps.pool.compare({ ...common, upper, form: 'whole' })
      if (result === undefined) throw new Error('whole trees were not compared')
      return result
    })
  })
}

/** Bytes in one message; well below what any peer takes. */
const messageSize = 1 << 20

async function store(
  writer: ContentWriter,
  ref: string,
  file: FileHandle,
  { digest, size }: CompareResult,
  labels: Readonly<Record<string, string>>,
): Promise<void> {
  const piece = Buffer.allocUnsafe(messageSize)
  let offset = 0
  while (offset < size) {
    const { bytesRead } = await file.read(piece, 0, messageSize, offset)
    if (bytesRead === 0) throw dataLoss(`layer has ${offset} bytes instead of ${size}`)
    // At offset 0 the store drops what an earlier writer of this ref left. The copy is the store's to keep.
    const data = Buffer.from(piece.subarray(0, bytesRead))
    await writer.send({ action: WriteAction.WRITE, ref, offset, total: size, data })
    offset += bytesRead
  }
  try {
    // Without `expected`: so the content that exists already joins the lease.
    const answer = await writer.send({ action: WriteAction.COMMIT, ref, offset, total: size, labels })
    if (answer.digest !== digest) throw dataLoss(`content store has ${answer.digest} instead of ${digest}`)
  } catch (error) {
    if (!hasCode(error, status.ALREADY_EXISTS)) throw error
  }
}

/** Content that existed before may lack the label. */
async function ensureLabel(deps: DiffServiceDeps, layer: CompareResult, call: Call): Promise<void> {
  const { info } = await deps.content.info({ digest: layer.digest }, call)
  if (info?.labels[uncompressedLabel] !== undefined) return
  const labels = { [uncompressedLabel]: layer.uncompressedDigest }
  await deps.content.update(
    {
      info: { digest: layer.digest, size: 0, createdAt: undefined, updatedAt: undefined, labels },
      updateMask: [`labels.${uncompressedLabel}`],
    },
    call,
  )
}

/** Milliseconds for the removal of an ingest whose caller has gone. */
const abandonTimeout = 5000

async function abandon(deps: DiffServiceDeps, ref: string, call: Call): Promise<void> {
  const signal = AbortSignal.timeout(abandonTimeout)
  // A failure here leaves an ingest that expires; the error that led here is the one to tell.
  await deps.content.abort({ ref }, withCall(call, { signal, deadline: undefined })).catch(() => {})
}
