import { ImagesDefinition } from '@flotilla/api/containerd/services/images/v1/images'
import { CollectorDefinition } from '@flotilla/api/flotilla/gc/v1/gc'
import { createImagesService } from '@flotilla/images'
import type { Part } from '../part.ts'

export const images: Part = {
  name: 'images',
  serves: [ImagesDefinition],
  async build({ metadata, client, serve }) {
    serve(ImagesDefinition, createImagesService({ metadata, collector: client(CollectorDefinition) }))
  },
}
