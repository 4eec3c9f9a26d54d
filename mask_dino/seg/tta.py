"""Test-time augmentation of semantic segmentation."""

from mmseg.models.segmentors import SegTTAModel
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample


@MODELS.register_module()
class ScoreTTAModel(SegTTAModel):
    """Averages the scores of all augmentations of an image, as the original does.

    mmseg's SegTTAModel averages their softmax. Our scores are sums of probabilities; a softmax would make them nearly
    equal. Only two maps of scores are held at a time, not one for each augmentation.
    """

    def test_step(self, data: dict) -> list[SegDataSample]:
        """Return the averaged results of a batch.

        Args:
            data: Each of its values is a list with one batch per augmentation.
        """
        count = len(data['inputs'])
        merged = self.predict(data, 0)
        for index in range(1, count):
            for total, sample in zip(merged, self.predict(data, index), strict=True):
                total.seg_logits.data.add_(sample.seg_logits.data)  # (num_classes, H, W)
        for sample in merged:
            scores = sample.seg_logits.data.div_(count)
            sample.pred_sem_seg.data = scores.argmax(0, keepdim=True)
        return merged

    def predict(self, data: dict, index: int) -> list[SegDataSample]:
        """Return the results of augmentation ``index`` of a batch."""
        samples: list[SegDataSample] = self.module.test_step(
            {name: value[index] for name, value in data.items()}
        )
        return samples
