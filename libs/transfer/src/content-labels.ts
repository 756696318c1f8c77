import { UpdateRequest } from '@flotilla/api/containerd/services/content/v1/content'
import type { Call } from '@flotilla/rpc'
import type { TransferDeps } from './deps.ts'

/** Sets labels of content, leaving its others as they are. Where they are as wanted already nothing is written. */
export async function labels(
  deps: TransferDeps,
  digest: string,
  wanted: Readonly<Record<string, string>>,
  call: Call,
): Promise<void> {
  const paths = Object.keys(wanted).map((key) => `labels.${key}`)
  if (paths.length === 0) return
  const { info } = await deps.content.info({ digest }, call)
  if (Object.entries(wanted).every(([key, value]) => info?.labels[key] === value)) return
  await deps.content.update(
    UpdateRequest.fromPartial({ info: { digest, labels: { ...wanted } }, updateMask: paths }),
    call,
  )
}
