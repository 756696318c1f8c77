import { join } from 'node:path'
import { ContentDefinition } from '@flotilla/api/containerd/services/content/v1/content'
import { DiffDefinition } from '@flotilla/api/containerd/services/diff/v1/diff'
import { LocalBlobsDefinition } from '@flotilla/api/flotilla/content/v1/content'
import { LayersDefinition } from '@flotilla/api/flotilla/diff/v1/diff'
import { createDiffService, createLayersService, inOrder, layersElsewhere } from '@flotilla/diff'
import { createLayerPool } from '@flotilla/layers'
import type { Part } from '../part.ts'
import { pluginClient } from '../plugin-client.ts'

export const diff: Part = {
  name: 'diff',
  serves: [DiffDefinition, LayersDefinition],
  async build({ client, config, own, serve }) {
    const { workers } = config.diff
    const pool = own(createLayerPool({ workers }))
    const deps = {
      content: client(ContentDefinition),
      blobs: client(LocalBlobsDefinition),
      pool,
      tmpDir: join(config.state, 'diff'),
      syncFs: () => config.diff.syncFs,
      processors: config.streamProcessors,
    }
    const service = createDiffService(deps)
    const differs = config.diff.order.map((name) => {
      const plugin = config.proxyPlugins.find((one) => one.type === 'diff' && one.name === name)
      return plugin === undefined ? service : pluginClient({ own }, DiffDefinition, plugin)
    })
    const [first = service, ...others] = differs
    serve(DiffDefinition, inOrder([first, ...others]))
    const arrivals = own(createLayerPool({ workers }))
    // What another program is to see first is not taken past it.
    serve(
      LayersDefinition,
      first === service ? createLayersService({ ...deps, arrivals, maxArrivals: workers }) : layersElsewhere(),
    )
  },
}
