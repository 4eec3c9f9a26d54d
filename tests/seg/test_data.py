import cv2
import numpy as np
import pytest

from mask_dino.messages import DataError
from mask_dino.seg.data import LoadLabelMap


def load(folder, labels: np.ndarray) -> dict:
    path = str(folder / 'map.png')
    cv2.imwrite(path, labels)
    info = dict(seg_map_path=path, img_path='an/image.jpg', ori_shape=(20, 30), seg_fields=[])
    return LoadLabelMap()(info | dict(reduce_zero_label=False, label_map=None))


def test_a_map_of_the_size_of_its_image_is_loaded(tmp_path):
    labels = np.arange(600, dtype=np.uint8).reshape(20, 30) % 4
    np.testing.assert_array_equal(load(tmp_path, labels)['gt_seg_map'], labels)


@pytest.mark.parametrize('shape', [(30, 20), (20, 30, 3)])
def test_others_are_named_with_their_shape(tmp_path, shape):
    with pytest.raises(DataError, match=r'map\.png .*an/image\.jpg is \(20, 30\)') as caught:
        load(tmp_path, np.zeros(shape, np.uint8))
    assert str(shape) in str(caught.value)
