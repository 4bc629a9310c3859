"""Keras models as people write them. Run as a script it saves each: python keras_models.py FOLDER NAME..."""

import sys
from pathlib import Path

import keras
import numpy as np
from keras import layers, ops


def sequential():
    """The order of flat values, with a normalization and a slope before the dense layer."""
    return keras.Sequential(
        [
            keras.Input((8, 7, 3)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(6, 3, strides=2, padding="same", activation="relu"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.BatchNormalization(),
            layers.PReLU(),
            layers.Dropout(0.3),
            layers.Dense(5, activation="softmax"),
        ]
    )


def branched():
    """A residual block, squeeze and excitation, branches side by side."""
    image = keras.Input((9, 8, 3))
    x = layers.ZeroPadding2D(((0, 1), (1, 0)))(image)
    x = layers.Conv2D(8, 3, use_bias=False, name="stem")(x)
    x = layers.BatchNormalization(epsilon=1e-5, momentum=0.9, name="stem_bn")(x)
    x = first = layers.ReLU(6.0)(x)
    x = layers.SeparableConv2D(8, 3, padding="same", activation="silu")(x)
    x = layers.Add()([x, first])
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = layers.Conv2D(8, 1, activation="hard_sigmoid")(gate)
    x = layers.Multiply()([x, gate])
    a = layers.AveragePooling2D(3, strides=1, padding="same")(x)
    b = layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2)(layers.LeakyReLU()(x))
    x = layers.Concatenate()([a, b])
    x = layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(image, layers.Dense(4, name="logits")(x))


def nested():
    """Models inside a model, as in transfer learning; sums, differences and products by operators."""
    block = keras.Sequential(
        [keras.Input((6, 6, 4)), layers.Conv2D(4, 3, padding="same"), layers.GroupNormalization(2)], name="block"
    )
    inner = keras.Input((8, 8, 1))
    features = layers.Conv2D(4, 3, name="conv")(inner)
    backbone = keras.Model(inner, layers.Activation("gelu")(block(features)), name="backbone")
    image = keras.Input((8, 8, 1))
    x = backbone(image)
    x = x * 0.5 + keras.ops.relu(x)
    x = 2.0 - layers.Subtract()([x, keras.ops.tanh(x)])
    x = layers.UpSampling2D(2)(layers.LayerNormalization()(x))
    x = layers.Conv2D(3, 3, dilation_rate=2, groups=1)(x)
    x = layers.Dense(6, activation="tanh")(x)
    return keras.Model(image, layers.Dense(3)(layers.Flatten()(x)))


def bottleneck():
    """A dense gate that is reshaped to an image, stochastic depth, normalized pixels."""
    image = keras.Input((8, 8, 3))
    x = layers.Normalization(mean=[120.3, 110.1, 100.7], variance=[3000.1, 3100.2, 3200.3])(image)
    x = shortcut = layers.Conv2D(8, 3, activation="mish")(x)
    gate = layers.Dense(8, activation="sigmoid")(layers.GlobalAveragePooling2D()(x))
    x = layers.Multiply()([x, layers.Reshape((1, 1, 8))(gate)])
    x = layers.Dropout(0.1, noise_shape=(None, 1, 1, 1))(layers.Conv2D(8, 1)(x))
    x = layers.Add()([shortcut, x])
    return keras.Model(image, layers.Dense(3, activation="softmax")(layers.GlobalMaxPooling2D()(x)))


def selected():
    """Parts of the channels and rows, a shuffle, channels of zeros."""
    image = keras.Input((6, 5, 3))
    x = layers.Conv2D(8, 3, padding="same", name="stage-0-conv")(image)
    one, other = keras.ops.split(x, 2, axis=-1)
    x = layers.Concatenate()([layers.Conv2D(4, 1)(one), other])
    x = keras.ops.reshape(keras.ops.swapaxes(keras.ops.reshape(x, (-1, 6, 5, 2, 4)), 3, 4), (-1, 6, 5, 8))
    odd, chosen = layers.ReLU()(x[:, :, :, 1::2]), keras.ops.take(x, [7, 0, 5, 2], axis=-1)
    x = layers.Add()([odd, x[..., 2:6], chosen])
    zeros = keras.ops.pad(x[..., :1], ((0, 0), (0, 0), (0, 0), (0, 2)))
    x = keras.ops.concatenate([zeros, x[..., 1:]], axis=-1)[:, ::2]
    x = keras.ops.transpose(x, (0, 3, 1, 2)) * np.full((6, 1, 1), 0.5) + 1.0
    return keras.Model(image, layers.Dense(3)(layers.Flatten()(x)))


def sloped(kind):
    image = keras.Input((8, 7, 3))
    x = getattr(layers, kind)(negative_slope=0.3)(layers.Conv2D(4, 3)(image))
    return keras.Model(image, layers.Dense(3)(layers.Flatten()(x)))


def with_sigmoid(factor=1e3):
    """Its last values are 0 and 1 in float64 as well, for the images that an import computes."""
    image = keras.Input((8, 7, 3))
    x = layers.Flatten()(layers.Conv2D(4, 3, name="conv")(image))
    init = keras.initializers.RandomNormal(stddev=factor)
    return keras.Model(image, layers.Dense(2, "sigmoid", kernel_initializer=init, name="fc")(x))


def with_nan():
    model = keras.Sequential([keras.Input((8, 7, 3)), layers.Conv2D(4, 3, name="conv"), layers.ReLU()])
    model.add(layers.Flatten())
    model.add(layers.Dense(2, name="fc"))
    model.layers[0].kernel.assign(model.layers[0].kernel * np.nan)
    return model


def frozen(own=False):
    """A model and a layer that are not trained, as in transfer learning; also one of the user's own class."""
    backbone = keras.Sequential([keras.Input((8, 7, 3)), layers.Conv2D(4, 3, name="conv")], name="backbone")
    backbone.add(Scaled(name="scaled") if own else layers.BatchNormalization(name="bn"))
    backbone.trainable = False
    image = keras.Input((8, 7, 3))
    x = layers.Conv2D(4, 3, name="free")(layers.ReLU()(backbone(image, training=False)))
    x = layers.Conv2D(4, 1, name="fixed", trainable=False)(x)
    return keras.Model(image, layers.Dense(3, name="fc")(layers.GlobalAveragePooling2D()(x)))


def resized(kind, interpolation):
    """A resize to 12 rows and 10 columns."""
    of = {"UpSampling2D": {"size": 2}, "Resizing": {"height": 12, "width": 10}}[kind]
    image = keras.Input((8, 7, 3))
    x = layers.Conv2D(4, 3, activation="relu")(image)
    x = getattr(layers, kind)(**of, interpolation=interpolation)(x)
    return keras.Model(image, layers.Dense(3)(layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(x))))


# Arguments of the layers that change images in training alone.
AUGMENTING = {
    **{f"Random{each}": {} for each in ("Flip", "Rotation", "Erasing", "Grayscale", "ColorJitter", "Perspective")},
    **{f"Random{each}": {} for each in ("Invert", "Shear", "GaussianBlur", "ElasticTransform")},
    **{f"Random{each}": {"factor": 0.5} for each in ("Contrast", "Brightness", "Hue", "Saturation", "Sharpness")},
    **{"RandomColorDegeneration": {"factor": 0.5}, "RandomPosterization": {"factor": 4}},
    **{"RandomZoom": {"height_factor": 0.3}, "RandomCrop": {"height": 8, "width": 7}},
    **{"RandomTranslation": {"height_factor": 0.3, "width_factor": 0.3}},
    **{each: {} for each in ("AugMix", "CutMix", "MixUp", "RandAugment", "Solarization")},
}
AUGMENTING["RandomRotation"] = {"factor": 0.2}


def augmented():
    """All layers that augment, most of them in a model that has no input of its own."""
    image = keras.Input((8, 7, 3))
    made = [getattr(layers, kind)(**options) for kind, options in AUGMENTING.items() if hasattr(layers, kind)]
    x = keras.Sequential(made, name="augmentation")(image)
    x = layers.Conv2D(4, 3, name="conv")(x)
    return keras.Model(image, layers.Dense(3)(layers.Flatten()(layers.RandomFlip(name="again")(x))))


def of_some_images():
    image = keras.Input((8, 8, 1))
    return keras.Model(image, layers.Dense(2)(layers.Flatten()(image[:1, ...])))


def small_mobilenet():
    return keras.applications.MobileNetV2((64, 64, 3), alpha=0.35, weights=None, classes=10)


def with_lambda():
    return keras.Sequential([keras.Input((8, 8, 1)), layers.Lambda(lambda x: x * 2), layers.Flatten(), layers.Dense(2)])


def of_any_size():
    image = keras.Input((None, None, 3))
    return keras.Model(image, layers.Dense(3)(layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(image))))


def called_twice():
    image, conv = keras.Input((8, 8, 3)), layers.Conv2D(3, 1, name="again")
    return keras.Model(image, layers.Dense(3)(layers.GlobalAveragePooling2D()(conv(conv(image)))))


def transposed():
    return keras.Sequential([keras.Input((8, 8, 1)), layers.Conv2DTranspose(2, 3, name="up"), layers.Flatten()])


class Doubled(layers.Layer):
    def call(self, x):
        return 2 * x


def custom():
    return keras.Sequential([keras.Input((8, 8, 1)), Doubled(name="own"), layers.Flatten(), layers.Dense(2)])


class Scaled(layers.Layer):
    """A factor for each channel, and a summand."""

    def __init__(self, shift=True, **options):
        super().__init__(**options)
        self.shift = shift

    def build(self, shape):
        self.factor = self.add_weight(shape=shape[-1:], initializer="random_uniform", name="factor")
        self.summand = self.add_weight(shape=shape[-1:], initializer="random_uniform", name="summand")

    def call(self, x):
        return self.factor * x + self.summand if self.shift else self.factor * x


class Excited(layers.Layer):
    """Squeeze and excitation with layers inside; `training` changes nothing."""

    def __init__(self, channels, **options):
        super().__init__(**options)
        self.squeeze = layers.Conv2D(2, 1, activation="relu", name="squeeze")
        self.expand = layers.Conv2D(channels, 1, name="expand")

    def call(self, x, training=None):
        gate = self.expand(self.squeeze(ops.mean(x, axis=(1, 2), keepdims=True)))
        return x * ops.sigmoid(gate)


def own_layers():
    image = x = keras.Input((9, 8, 3))
    x = layers.Conv2D(6, 3, use_bias=False, name="conv")(x)
    x = Scaled(name="scaled")(x)
    x = Excited(6, name="excited")(x)
    x = layers.Lambda(lambda value: ops.relu(value) / 4)(x)
    x = layers.Flatten()(x)
    return keras.Model(image, layers.Dense(5, name="fc")(x))


class OfTraining(layers.Layer):
    def call(self, x, training=False):
        return 2 * x if training else x


class Flipped(layers.Layer):
    """A layer that augments, with and without a word on training, inside of one of the user's."""

    def __init__(self, **options):
        super().__init__(**options)
        self.flip, self.turn = layers.RandomFlip(name="flip"), layers.RandomRotation(0.2, name="turn")

    def call(self, x, training=None):
        return self.turn(self.flip(x), training=training)


def in_training():
    """Layers, and a model, called with an argument that Keras replaces in evaluation."""
    image = keras.Input((8, 8, 2))
    x = layers.Dropout(0.5)(layers.Conv2D(4, 3)(image), training=True)
    x = layers.RandomFlip()(layers.BatchNormalization()(x, training=True), training=True)
    x = keras.Sequential([layers.BatchNormalization(), layers.Dropout(0.5)])(x, training=True)
    return keras.Model(image, layers.Dense(2)(layers.Flatten()(x)))


class OnValues(layers.Layer):
    def call(self, x):
        return x if x[0, 0, 0, 0] > 0 else -x


class OfTensorFlow(layers.Layer):
    def call(self, x):
        import tensorflow

        return tensorflow.nn.relu(x)


class InFunction(layers.Layer):
    def build(self, shape):
        self.size = self.add_weight(shape=shape[-1:], name="size")

    def call(self, x):
        return x * ops.exp(self.size)


class OfPixels(layers.Layer):
    def build(self, shape):
        self.map = self.add_weight(shape=shape[1:], name="map")

    def call(self, x):
        return x * self.map


class Summand(layers.Layer):
    def build(self, shape):
        self.shift = self.add_weight(shape=shape[-1:], name="shift")

    def call(self, x):
        return x + self.shift


def with_layer(kind):
    """A model with one of the classes above."""
    own = globals()[kind](name="own")
    stem = [keras.Input((8, 8, 2)), layers.Conv2D(4, 3, activation="relu", name="conv"), own]
    return keras.Sequential([*stem, layers.Flatten(), layers.Dense(2)])


class Subclassed(keras.Model):
    def call(self, x):
        return x


def fails():
    return 1 // 0


def too_small():
    return layers.Conv2D(4, 9, name="large")(np.zeros((1, 8, 8, 1)))


def with_list():
    raise ValueError("one\ntwo\n\nArguments received by Own.call():\n  \u2022 x=3\n  \u2022 training=True")


if __name__ == "__main__":
    for name in sys.argv[2:]:
        keras.backend.clear_session()
        keras.utils.set_random_seed(1)
        model = globals()[name]()
        for variable in model.variables:
            if "moving_variance" in variable.path or variable.name == "alpha":
                variable.assign(keras.random.uniform(variable.shape, 0.5, 2.0))
            elif variable.dtype == "float32" and "seed" not in variable.path and len(variable.shape) == 1:
                variable.assign(keras.random.uniform(variable.shape, -1.0, 1.0))
        model.save(Path(sys.argv[1]) / f"{name}.keras")
