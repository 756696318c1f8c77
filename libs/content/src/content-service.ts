import { join } from 'node:path'
import type { ContentDefinition } from '@flotilla/api/containerd/services/content/v1/content'
import type { LocalBlobsDefinition } from '@flotilla/api/flotilla/content/v1/content'
import type { BlobsDefinition as PeerBlobsDefinition } from '@flotilla/api/flotilla/peer/v1/peer'
import type { Metadata } from '@flotilla/metadata'
import { keepsNoRequest, requireNamespace, type ServiceOf, unavailable } from '@flotilla/rpc'
import { createSlots } from '@flotilla/turns'
import { Adoptions } from './adoptions.ts'
import { info, list, remove, update } from './catalogue.ts'
import { parseDigest } from './digest.ts'
import { DigestLocks } from './digest-locks.ts'
import { DirectorySync } from './directory-sync.ts'
import { diskBytes } from './disk-bytes.ts'
import { abort, listStatuses, status } from './ingests.ts'
import { layoutOf, makeDirectories } from './layout.ts'
import { locate, locateIngest } from './locate.ts'
import { Arrivals } from './peers/arrivals.ts'
import { bringNamed } from './peers/bring.ts'
import { readForPeers, servedAtOnce, statForPeers } from './peers/for-peers.ts'
import type { Peers } from './peers/peers.ts'
import { tellOfBlobs } from './peers/tell-of-blobs.ts'
import { type CopiesPolicy, watchCopies } from './peers/watch-copies.ts'
import { proxiedBytes } from './proxied-bytes.ts'
import { read } from './read.ts'
import { recover } from './recover.ts'
import { lockRoot } from './root-lock.ts'
import { SecondLooks } from './second-looks.ts'
import type { SharingPolicy, Store, StoreLogger } from './store.ts'
import { sweep, sweepBlob } from './sweep.ts'
import { answering, streaming } from './without-paths.ts'
import { write } from './write.ts'
import { Writers } from './writers.ts'

export interface ContentServiceDeps {
  readonly metadata: Metadata
  /** The daemon's root directory; the store makes `io.containerd.content.v1.content` below it. */
  readonly root: string
  /** Name of the node whose disk the root is on. */
  readonly nodeName: string
  /** Asked for each writer that is opened. */
  readonly policy: () => SharingPolicy
  readonly logger?: StoreLogger | undefined
  /** The other nodes of the cluster; absent for a machine alone. */
  readonly peers?: Peers | undefined
  /** Another program that has the bytes, instead of this node's disk; for a machine alone. The caller closes it. */
  readonly plugin?: ServiceOf<typeof ContentDefinition> | undefined
  /** Nodes that are to have each blob that did not come from a registry; 1 by default. */
  readonly copies?: number | undefined
  /** Milliseconds until a blob is looked at again of which nobody knows whether it has a record; 10,000 by default. */
  readonly secondLookAfter?: number | undefined
  /** How copies are looked after; without it they are made when a blob comes, and that is all. */
  readonly copiesPolicy?: CopiesPolicy | undefined
}

export interface ContentService extends AsyncDisposable {
  readonly content: ServiceOf<typeof ContentDefinition>
  readonly blobs: ServiceOf<typeof LocalBlobsDefinition>
  /** For other nodes. */
  readonly forPeers: ServiceOf<typeof PeerBlobsDefinition>
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
  const directories = new DirectorySync()
  const store: Store = {
    metadata: deps.metadata,
    bytes:
      deps.plugin === undefined
        ? diskBytes(layout, directories, deps.nodeName)
        : proxiedBytes(deps.plugin, closing.signal),
    layout,
    node: deps.nodeName,
    policy: deps.policy,
    writers: new Writers(),
    digests: new DigestLocks(),
    adoptions: new Adoptions(),
    directories,
    secondLooks: stack.use(new SecondLooks((digest) => sweepBlob(store, digest), deps.secondLookAfter)),
    closing: closing.signal,
    logger: deps.logger,
    peers: deps.peers,
    copies: deps.copies ?? 1,
    arrivals: new Arrivals(),
    serving: createSlots(servedAtOnce),
  }
  stack.defer(async () => {
    closing.abort(unavailable('the content service is stopping'))
    await store.writers.close()
  })
  await recover(store)
  if (deps.peers !== undefined) {
    void tellOfBlobs(store)
    if (deps.copiesPolicy !== undefined) void watchCopies(store, deps.copiesPolicy)
  }

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
      write: keepsNoRequest(streaming((requests, call) => write(store, requests, call))),
      abort: answering((request, call) => abort(store, request, call)),
    },
    blobs: {
      locate: answering((request, call) => locate(store, request, call)),
      locateIngest: answering((request, call) => locateIngest(store, request, call)),
      sweep: answering((request, call) => sweep(store, request, call)),
      writing: answering(async ({ ref }, call) => ({
        open: store.writers.isHeld(requireNamespace(call), ref),
      })),
      bring: answering(async ({ digest }, call) => {
        await bringNamed(store, parseDigest(digest), call)
        return {}
      }),
    },
    forPeers: {
      stat: answering((request) => statForPeers(store, request)),
      read: streaming((request, call) => readForPeers(store, request, call)),
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}
