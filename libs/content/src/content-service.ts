import { join } from 'node:path'
import type { ContentDefinition } from '@flotilla/api/containerd/services/content/v1/content'
import type { LocalBlobsDefinition } from '@flotilla/api/flotilla/content/v1/content'
import type { Metadata } from '@flotilla/metadata'
import { type ServiceOf, unavailable } from '@flotilla/rpc'
import { Adoptions } from './adoptions.ts'
import { info, list, remove, update } from './catalogue.ts'
import { DigestLocks } from './digest-locks.ts'
import { DirectorySync } from './directory-sync.ts'
import { abort, listStatuses, status } from './ingests.ts'
import { layoutOf, makeDirectories } from './layout.ts'
import { locate } from './locate.ts'
import { read } from './read.ts'
import { recover } from './recover.ts'
import { lockRoot } from './root-lock.ts'
import type { SharingPolicy, Store, StoreLogger } from './store.ts'
import { sweep } from './sweep.ts'
import { answering, streaming } from './without-paths.ts'
import { write } from './write.ts'
import { Writers } from './writers.ts'

export interface ContentServiceDeps {
  readonly metadata: Metadata
  /** The daemon's root directory; the store makes `io.containerd.content.v1.content` below it. */
  readonly root: string
  /** Name of the node whose disk the root is on. */
  readonly nodeName: string
  readonly policy: SharingPolicy
  readonly logger?: StoreLogger | undefined
}

export interface ContentService extends AsyncDisposable {
  readonly content: ServiceOf<typeof ContentDefinition>
  readonly blobs: ServiceOf<typeof LocalBlobsDefinition>
}

/**
 * Opens the content store of a node: takes its directory for this process, puts right what a crash left there and
 * gives the services. Disposing ends open writers (their ingests stay, to be resumed) and frees the directory.
 *
 * @throws FAILED_PRECONDITION when another process has the directory.
 */
export async function createContentService(deps: ContentServiceDeps): Promise<ContentService> {
  const layout = layoutOf(join(deps.root, 'io.containerd.content.v1.content'))
  await makeDirectories(layout)
  await using stack = new AsyncDisposableStack()
  stack.use(await lockRoot(layout.root))
  const closing = new AbortController()
  const store: Store = {
    metadata: deps.metadata,
    layout,
    node: deps.nodeName,
    policy: deps.policy,
    writers: new Writers(),
    digests: new DigestLocks(),
    adoptions: new Adoptions(),
    directories: new DirectorySync(),
    closing: closing.signal,
    logger: deps.logger,
  }
  stack.defer(async () => {
    closing.abort(unavailable('the content service is stopping'))
    await store.writers.close()
  })
  await recover(store)

  const owned = stack.move()
  return {
    content: {
      info: answering((request, call) => info(store, request, call)),
      update: answering((request, call) => update(store, request, call)),
      list: streaming((request, call) => list(store, request, call)),
      delete: answering((request, call) => remove(store, request, call)),
      read: streaming((request, call) => read(store, request, call)),
      status: answering((request, call) => status(store, request, call)),
      listStatuses: answering((request, call) => listStatuses(store, request, call)),
      write: streaming((requests, call) => write(store, requests, call)),
      abort: answering((request, call) => abort(store, request, call)),
    },
    blobs: {
      locate: answering((request, call) => locate(store, request, call)),
      sweep: answering((request, call) => sweep(store, request, call)),
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}
