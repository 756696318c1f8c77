import { ContainersDefinition } from '@flotilla/api/containerd/services/containers/v1/containers'
import { ContentDefinition } from '@flotilla/api/containerd/services/content/v1/content'
import { ImagesDefinition } from '@flotilla/api/containerd/services/images/v1/images'
import { createContainersService } from '@flotilla/containers'
import { nearnessOfImage } from '../nearness.ts'
import type { Part } from '../part.ts'

export const containers: Part = {
  name: 'containers',
  serves: [ContainersDefinition],
  async build({ client, config, metadata, schedule, serve }) {
    const parts = { metadata, images: client(ImagesDefinition), content: client(ContentDefinition) }
    serve(
      ContainersDefinition,
      createContainersService({
        metadata,
        nodeName: config.nodeName,
        schedule: async ({ image, namespace, runtime }) =>
          await schedule({
            runtime,
            near: await nearnessOfImage(parts, namespace, image),
            nearReason: "has most of the image's blobs",
          }),
      }),
    )
  },
}
