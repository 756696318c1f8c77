import { parentPort } from 'node:worker_threads'
import { errnoOf } from '@flotilla/linux'
import { applyLayer } from './apply/apply-layer.ts'
import { compareTrees } from './compare/compare-trees.ts'
import type { FromWorker, Job, JobResult, ToWorker } from './messages.ts'

// The thread that does the work: file system calls here may block without holding up the process's services.

const port = parentPort
if (port === null) throw new Error('the layer worker runs as a worker thread only')

let running: { readonly id: number; readonly controller: AbortController } | undefined

port.on('message', (message: ToWorker) => {
  if (message.kind === 'cancel') {
    if (running?.id === message.id) running.controller.abort()
    return
  }
  const { id, job } = message
  const controller = new AbortController()
  running = { id, controller }
  const answer = (text: FromWorker) => {
    running = undefined
    port.postMessage(text)
  }
  run(job, controller.signal).then(
    (result) => answer({ id, kind: 'done', result }),
    (error: unknown) =>
      answer({
        id,
        kind: 'failed',
        message: error instanceof Error ? error.message : String(error),
        code: errnoOf(error),
      }),
  )
})

function run(job: Job, signal: AbortSignal): Promise<JobResult> {
  return job.kind === 'apply' ? applyLayer(job, signal) : compareTrees(job, signal)
}
