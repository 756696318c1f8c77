import type { ImageExportStream, ImageImportStream } from '@flotilla/api/containerd/types/transfer/transfer'
import { type Call, invalidArgument } from '@flotilla/rpc'
import { receiveBytes, sendBytes } from './byte-stream.ts'
import type { TransferDeps } from './deps.ts'

/** Sends the bytes of one stream of a client to another of its streams as they are, whatever they mean. */
export async function echo(
  deps: TransferDeps,
  source: ImageImportStream,
  destination: ImageExportStream,
  call: Call,
): Promise<void> {
  if (source.stream === destination.stream)
    throw invalidArgument(`stream "${source.stream}" is both ends of a transfer`)
  const from = deps.streams.get(source.stream, call)
  const to = deps.streams.get(destination.stream, call)
  await sendBytes(to, receiveBytes(from))
}
